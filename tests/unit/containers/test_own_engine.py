"""The tests' own engine: what of it is removed, and on which machines its tests are passed over."""

from pathlib import Path

import pytest
from containers.own_engine import Forbidden

from containers import own_engine


@pytest.mark.parametrize(
    "said",
    [
        "RTNETLINK answers: Operation not permitted",
        "RTNETLINK answers: Operation not supported",
        "Error: Unknown device type.",
        "mount: /etc/docker: permission denied.",
        "unshare: unshare failed: Operation not permitted",
        "failed to start daemon: Devices cgroup isn't mounted",
        "mkdir /sys/fs/cgroup/memory/x: read-only file system",
    ],
)
def test_a_kernel_that_refuses_is_no_failure(said: str):
    with pytest.raises(Forbidden, match=said.split(":")[-1].strip()):
        own_engine.refuse(f"time=now level=info\n{said}\n")


def test_all_else_is_one():
    with pytest.raises(AssertionError, match="no engine: failed to load listeners"):
        own_engine.refuse("failed to load listeners: the address is in use\n")


@pytest.mark.parametrize("version", [1, 2])
def test_cgroups_are_removed_where_some_have_two_names(version: int, tmp_path: Path):
    """Version 1 has folders such as cpu,cpuacct, and links to them for each of the two."""
    groups = tmp_path / "cgroup"
    place = groups / "cpu,cpuacct" / "mine" if version == 1 else groups / "mine"
    (place / "task").mkdir(parents=True)
    other = place.with_name("theirs")
    other.mkdir()
    if version == 1:
        for name in ("cpu", "cpuacct"):
            (groups / name).symlink_to("cpu,cpuacct")
    own_engine.remove_groups("mine", groups)
    assert not place.exists()
    assert other.exists()
