"""Tells a process from a later one that was given the same number."""

import subprocess
from pathlib import Path

PROC = Path("/proc")


def identity(pid: int) -> str | None:
    """What stays the same for as long as process ``pid`` lives and no other process will ever have.

    Returns None if there is no such process, or only its unread exit code is left of it.
    """
    if not PROC.joinpath("self/stat").exists():
        return _identity_by_ps(pid)
    try:
        # The command's name stands in parentheses and may hold any character, so read from the last one on.
        fields = PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    state, start = fields[0], fields[19]
    if state in "ZX":
        return None
    boot = PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{pid}/{start}"


def _identity_by_ps(pid: int) -> str | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, __, start = shown.stdout.strip().partition(" ")
    return f"{pid}/{start.strip()}" if start and not state.startswith("Z") else None
