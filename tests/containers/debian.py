"""What Debian gives the tests: programs, unpacked but not installed, and a root to build images on."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

RELEASE = "bookworm"
# As Docker Hub's python:3.11-slim-bookworm: Python 3.11 and certificates, and no pages to read.
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
NOT_IN_A_BASE = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)


def unpack(root: Path, *packages: str) -> dict[str, str]:
    """Unpack packages, and what they need and this machine lacks, below ``root``.

    Nothing is installed, no service is started and no user made, so there is nothing to undo. Returns the
    environment in which their programs run.
    """
    if not shutil.which("apt-get"):
        pytest.skip(f"{', '.join(packages)} would come from Debian: there is no apt-get")
    if not root.exists():
        archives, draft = root.with_suffix(".archives"), root.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        _fetch(archives, packages)
        for archive in archives.glob("*.deb"):
            _run(["dpkg-deb", "--extract", archive, draft])
        shutil.rmtree(archives)
        draft.rename(root)
    places = [root / place for place in ("usr/sbin", "usr/bin", "sbin", "bin")]
    libraries = [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]
    return {
        "PATH": os.pathsep.join([*map(str, places), "/usr/sbin", "/sbin", os.environ["PATH"]]),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "DEBOOTSTRAP_DIR": str(root / "usr/share/debootstrap"),
    }


def _fetch(archives: Path, packages: tuple[str, ...]) -> None:
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    # Locks are for those who install, as root.
    options = ["--download-only", "--reinstall", "--no-install-recommends", "-oDebug::NoLocking=1"]
    fetch = ["apt-get", "-qq", "--yes", *options, f"-oDir::Cache::archives={archives}", "install", *packages]
    if _run(fetch, check=False).returncode:
        _run(["apt-get", "-qq", "update"])
        _run(fetch)


def base(root: Path, environment: Mapping[str, str]) -> None:
    """Make ``root`` a file system with Python, of the release and about the size of the image it stands in
    for.
    """
    if root.exists():
        return
    draft = root.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    # Whatever a crash of the machine would cost is made anew.
    settings = draft / "etc" / "dpkg" / "dpkg.cfg.d" / "unsafe-io"
    settings.parent.mkdir(parents=True)
    settings.write_text("force-unsafe-io\n")
    packages = ",".join(BASE_PACKAGES)
    _run(["debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, draft], environment)
    settings.unlink()
    for place in NOT_IN_A_BASE:
        for inside in (draft / place).iterdir():
            inside.unlink() if inside.is_symlink() or inside.is_file() else shutil.rmtree(inside)
    draft.rename(root)


def start(command: list[str | Path], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a program, which the kernel kills when these tests end, however they do."""
    with log.open("wb") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "--", *command],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _run(
    command: list[str | Path], environment: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command; what it says is shown when a test fails."""
    private = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"} | (environment or {})
    done = subprocess.run(
        command,
        env=private,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"$ {' '.join(map(str, command))}  (exit {done.returncode})\n{done.stdout[-4000:]}")
    if check:
        done.check_returncode()
    return done
