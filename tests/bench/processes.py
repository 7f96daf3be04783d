"""What a process and all that it started use, from /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(status)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, open_ = [], [pid]
    while open_:
        found.append(open_.pop())
        open_ += children.get(found[-1], [])
    return found


def cpu_seconds(pid: int) -> float:
    """CPU seconds so far of the family, user and system, with those of children that ended."""
    ticks = 0
    for each in family(pid):
        if fields := _stat(Path(f"/proc/{each}/stat")):
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def pss(pid: int) -> float:
    """The family's proportional set size in MiB: a page that several share counts once in all."""
    total = 0
    for each in family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has just ended
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024


def _stat(path: Path) -> list[str]:
    """The fields of a stat file from the state on; none if the process has ended."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []
