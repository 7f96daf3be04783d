"""The processes that chaos may end: the trainers of one deployment, and its dispatcher's."""

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from nerforge_contract import names

PROC = Path("/proc")


@dataclass(frozen=True)
class Trainer:
    """A trainer's process.

    Parameters
    ----------
    pid:
        The process.
    run_id, attempt:
        What it works on.
    """

    pid: int
    run_id: str
    attempt: int


def trainers(local_aws: Path) -> list[Trainer]:
    """The living trainers, by the process runner's records in the embedded AWS's folder."""
    alive = []
    for file in local_aws.glob("containers/*/container.json"):
        with contextlib.suppress(FileNotFoundError):  # it has ended and is being removed
            record = json.loads(file.read_text())
            environment = dict(entry.partition("=")[::2] for entry in record["Config"]["Env"])
            if record["State"]["Running"] and names.ENV_RUN in environment:
                attempt = int(environment[names.ENV_ATTEMPT])
                alive.append(Trainer(record["State"]["Pid"], environment[names.ENV_RUN], attempt))
    return alive


def dispatchers(local_aws: Path) -> list[int]:
    """The processes in which the emulator runs the Lambda function."""
    here = os.fsencode(local_aws / "tmp" / "ministack-lambda-")
    found = []
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if here in folder.joinpath("cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def holder(port: int, pids: list[int]) -> int | None:
    """Which of the processes has the loopback connection that goes out from ``port``."""
    local = f"0100007F:{port:04X}"
    rows = (line.split() for line in PROC.joinpath("net/tcp").read_text().splitlines()[1:])
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == local}
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in PROC.joinpath(str(pid), "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        return pid
    return None


def end(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
