"""What the process reads from its environment."""

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nerforge_contract import names
from nerforge_contract.errors import UserError

MOST_WORKERS = 256


@dataclass(frozen=True)
class Settings:
    """Where to listen and what to serve; an empty string stands for a variable that is not set."""

    host: str
    port: int
    workers: int
    model: str
    sha256: str
    bucket: str
    api_keys: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in these environment variables.

        Raises UserError for a port or a number of workers that is none. What is wrong with the pinned model
        is found when it is fetched: the server then says so on its ready path, where whoever rolls it out
        looks.
        """
        return cls(
            host=environment.get(names.ENV_HOST, "0.0.0.0"),
            port=_number(environment, names.ENV_PORT, "port", names.SERVER_PORT, 65535),
            workers=_number(environment, names.ENV_WORKERS, "number of workers", 0, MOST_WORKERS)
            or available_cpus(),
            model=environment.get(names.ENV_MODEL, ""),
            sha256=environment.get(names.ENV_MODEL_SHA256, ""),
            bucket=environment.get(names.ENV_BUCKET, ""),
            api_keys=environment.get(names.ENV_API_KEYS, ""),
        )


def available_cpus() -> int:
    """How many CPUs the process may use: those it may run on, within the quota of its control group."""
    cpus = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # no control groups of version 2, or the quota is "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cpus = min(cpus, math.ceil(int(quota) / int(period)))
    return max(cpus, 1)


def _number(environment: Mapping[str, str], variable: str, what: str, default: int, most: int) -> int:
    """The number from 1 to ``most`` in this variable, or the default if it is not set."""
    value = environment.get(variable)
    if value is None or (value == "" and not default):
        return default
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= most):
        raise UserError(
            f"{value!r} is not a {what}",
            variable,
            f"Give a number from 1 to {most}, such as {default or 2}, or leave it out.",
        )
    return int(value)
