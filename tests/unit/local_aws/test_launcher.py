"""Each of the launcher's changes, held against the emulator as it is released.

Where a test of the stock behaviour fails, the emulator has caught up: drop the change of that name from the
launcher.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

CAUGHT_UP = "the emulator behaves otherwise than when the change was written: is the change still needed?"


@pytest.fixture(scope="module")
def probe(emulator_venv):
    def run(name, changed):
        words = [emulator_venv / "bin" / "python", Path(__file__).with_name("probe.py"), name]
        done = subprocess.run(
            words + ["changed"] * changed, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


NOT_SERVING = "Task failed ELB health checks in (target-group "
GROUP = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/g/1)"

KEYS_BY_URL = ["AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]
KEYS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]

BEHAVIOUR = {
    # change and what it is about: (probe, stock, changed)
    "running_means_healthy": (
        "healthy",
        {"state": "RUNNING", "asked": 0},
        {"state": "RUNNING", "asked": 3},
    ),
    "running_means_healthy, never ready": (
        "unhealthy",
        {"state": "RUNNING", "reason": None},
        {"state": "STOPPED", "reason": NOT_SERVING + GROUP},
    ),
    "running_means_healthy, crash": (
        "crash",
        {"state": "RUNNING", "code": None},
        {"state": "STOPPED", "code": 3},
    ),
    "tasks_start_together": (
        "together",
        {"started": [], "digest": {}},
        {"started": [2], "digest": {}},
    ),
    "stopping_drains": (
        "stop",
        {
            "drained": False,
            "answered at once": True,
            "state at SIGTERM": "STOPPED",
            "seconds before SIGKILL": 5,
            "state at removal": "STOPPED",
            "exit code": 0,
        },
        {
            "drained": True,
            "answered at once": True,
            "state at SIGTERM": "STOPPING",
            "seconds before SIGKILL": 30,
            "state at removal": "STOPPING",
            "exit code": 75,
        },
    ),
    "first_deployment_in_progress": ("first_deployment", "COMPLETED", "IN_PROGRESS"),
    "empty_failed_deployment_leaves": (
        "failed_deployment",
        {"with a task": ["new", "old"], "empty": ["new", "old"]},
        {"with a task": ["new", "old"], "empty": ["old"]},
    ),
    "pause_between_retries": (
        "retry",
        {"at once": True, "later": True},
        {"at once": False, "later": True},
    ),
    "stopped_task_is_replaced": ("replacement", False, True),
    "client_token_is_kept": (
        "client_token",
        {"again": False, "other parameters": False, "other token": False, "no token": False},
        {"again": True, "other parameters": True, "other token": False, "no token": False},
    ),
    "exits_are_waited_for": (
        "watch",
        {"busy": True, "state": "STOPPED", "code": 3},
        {"busy": False, "state": "STOPPED", "code": 3},
    ),
    "tasks_reach_us_by_address": (
        "endpoint",
        "http://host.docker.internal:4566",
        "http://localhost:4566",  # the emulator's own MINISTACK_HOST, which the launcher sets to an address
    ),
    "tasks_behind_a_bridge_have_keys": (
        "keys",
        {"172.17.0.1": KEYS_BY_URL, "127.0.0.1": KEYS_BY_URL},
        {"172.17.0.1": KEYS, "127.0.0.1": KEYS_BY_URL},
    ),
    "containers_are_confined": (
        "confined",
        {},
        {"user": "10001:10001", "read_only": True, "cap_drop": ["ALL"], "mem_limit": 1024 * 1024 * 1024},
    ),
    "ports_are_not_published": ("ports", {"80/tcp": 80}, None),
    "bridge_services_have_no_network": ("network", {}, None),
    "lost_tasks_say_so": (
        "lost_task",
        {"lastStatus": "STOPPED", "desiredStatus": "RUNNING", "stoppedReason": None, "stopCode": None},
        {
            "lastStatus": "STOPPED",
            "desiredStatus": "STOPPED",
            "stoppedReason": "the local AWS ended while the task ran",
            "stopCode": "TerminationNotice",
        },
    ),
}


@pytest.mark.parametrize("name", BEHAVIOUR)
def test_the_release_lacks_what_the_change_brings(probe, name):
    subject, stock, __ = BEHAVIOUR[name]
    assert probe(subject, changed=False) == stock, CAUGHT_UP


@pytest.mark.parametrize("name", BEHAVIOUR)
def test_the_change_brings_it(probe, name):
    subject, __, changed = BEHAVIOUR[name]
    assert probe(subject, changed=True) == changed


def test_every_change_has_its_behaviour_here(files):
    listed = re.search(r"^CHANGES = \((.*?)^\)", files.joinpath("launcher.py").read_text(), re.S | re.M)[1]
    assert set(re.findall(r"\w+", listed)) == {name.partition(",")[0] for name in BEHAVIOUR}


def test_the_state_is_saved_while_it_runs(probe):
    assert probe("snapshots", changed=False) == {"saved": True, "ended": True}


def test_another_release_is_refused_with_the_way_out(probe, emulator_venv):
    said = probe("version", changed=False)
    assert "needs ministack 0.0.1" in said
    assert f"Remove the folder {emulator_venv}" in said


def test_the_launcher_and_the_lock_file_agree_on_the_release(files):
    pinned = re.search(r'^MINISTACK = "(.+)"', files.joinpath("launcher.py").read_text(), re.M)[1]
    assert f"ministack=={pinned} " in files.joinpath("requirements.txt").read_text()
