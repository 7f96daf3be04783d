"""Load by wrk, which costs the two cores so little that it may share them."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("load.lua")
_TIMEOUT = "60s"


@dataclass(frozen=True)
class Load:
    """What wrk saw.

    Parameters
    ----------
    requests:
        Answered.
    seconds:
        That it took.
    p50, p99:
        Latency, in seconds.
    failed:
        Connections that broke, and answers that were no success or too late.
    exhausted:
        More requests were sent than had been prepared, so that texts came twice.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    failed: int
    exhausted: bool

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def require_wrk() -> None:
    """SystemExit if there is no wrk."""
    if not shutil.which("wrk"):
        raise SystemExit(
            "wrk, which makes the load, is not on PATH: install the package wrk (Debian, Ubuntu)"
        )


def load(url: str, bodies: Path, connections: int, seconds: float) -> Load:
    """POST the bodies of a file, one a line, over so many connections that are kept open."""
    # wrk takes whole seconds only.
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--timeout", _TIMEOUT]
    command += ["--duration", f"{max(1, round(seconds))}s", "--script", str(_SCRIPT), url, "--", str(bodies)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"wrk ended with {ran.returncode}: {ran.stderr or ran.stdout}")
    seen = json.loads(ran.stdout.splitlines()[-1])
    return Load(
        requests=seen["requests"],
        seconds=seen["seconds"],
        p50=seen["p50"] / 1e6,
        p99=seen["p99"] / 1e6,
        failed=seen["failed"],
        exhausted=seen["sent"] > seen["prepared"],
    )
