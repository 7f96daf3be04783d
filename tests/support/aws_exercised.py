"""A pytest plugin: all unit tests together must have made the product send each call that it can make."""

from pathlib import Path
from typing import Any

import pytest
from support import aws_calls
from support.aws_calls import Call
from support.paths import ROOT

_KEY = "aws_calls"  # in what a worker of xdist hands back


class Exercised:
    """Collects the calls of this process, or of xdist's workers, and compares them with the source's."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._recorder = aws_calls.Recorder()
        self._recorder.install()
        self._complaints: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        calls = getattr(node, "workeroutput", {}).get(_KEY, ())
        self._recorder.calls |= {Call(*call) for call in calls}

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """All tests have run."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_KEY] = [tuple(call) for call in self._recorder.calls]
        elif exitstatus == pytest.ExitCode.OK and _is_complete(self._config):
            self._complaints = complaints(aws_calls.in_source(), self._recorder.calls)
            if self._complaints:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what is missing."""
        if self._complaints:
            terminalreporter.section("calls to AWS", red=True)
            for line in self._complaints:
                terminalreporter.line(line)


def complaints(written: set[Call], seen: set[Call]) -> list[str]:
    """What is wrong where the source has some calls, and tests have seen some."""
    return [
        *(f"{call}: no test makes this call" for call in sorted(written - seen)),
        *(f"{call}: made, but not found in the source" for call in sorted(seen - written)),
    ]


def _is_complete(config: pytest.Config) -> bool:
    """Whether all unit tests were asked for, and no others."""
    asked = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    options = ("keyword", "markexpr", "lf", "deselect", "ignore")
    chosen = any(config.getoption(name, None) for name in options)  # lf is a plugin's, which may be off
    return asked == [Path(ROOT / "tests" / "unit")] and not chosen
