"""What Debian gives the tests: programs, unpacked but not installed, and a root to build images on."""

import os
import shutil
import subprocess
from pathlib import Path

PROGRAMS = ("docker.io", "docker-registry", "debootstrap", "iproute2")
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


def unpack(folder: Path) -> dict[str, str]:
    """Unpack the programs, and what they need and this machine lacks, below ``folder``.

    Nothing is installed, no service is started and no user made, so there is nothing to undo. Returns the
    environment in which they run.
    """
    root, archives = folder / "root", folder / "archives"
    if not root.exists():
        assert shutil.which("apt-get"), "No apt-get: these tests run on Debian and Ubuntu."
        (archives / "partial").mkdir(parents=True, exist_ok=True)
        fetch = [
            "apt-get",
            "-qq",
            "install",
            "--download-only",
            "--reinstall",
            "--no-install-recommends",
            "--yes",
        ]
        if _run([*fetch, f"-oDir::Cache::archives={archives}", *PROGRAMS], check=False).returncode:
            _run(["apt-get", "-qq", "update"])
            _run([*fetch, f"-oDir::Cache::archives={archives}", *PROGRAMS])
        draft = folder / "root.new"
        shutil.rmtree(draft, ignore_errors=True)
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


def base(folder: Path, environment: dict[str, str]) -> Path:
    """A root file system with Python, of the release and about the size of the image it stands in for."""
    root = folder / "base"
    if not root.exists():
        draft = folder / "base.new"
        shutil.rmtree(draft, ignore_errors=True)
        packages = ",".join(BASE_PACKAGES)
        _run(["debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, draft], environment)
        for place in NOT_IN_A_BASE:
            for inside in (draft / place).iterdir():
                inside.unlink() if inside.is_symlink() or inside.is_file() else shutil.rmtree(inside)
        draft.rename(root)
    return root


def _run(
    command: list[str | Path], environment: dict[str, str] | None = None, check: bool = True
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
