"""A pytest plugin: the product's calls to AWS are ones that AWS would take, and all of them are made.

A test fails in which the product sends what AWS would refuse; and all unit tests together must have made the
product send each call that it can make.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from support import aws_call_sites, aws_model
from support.aws_call_sites import Site
from support.aws_calls import Call, listen_to_all
from support.paths import ROOT

_KEY = "aws_call_sites"  # in what a worker of xdist hands back


class Exercised:
    """Sees the product's calls in this process, and in the end those that xdist's workers have seen.

    Attributes: ``sites``, where they were made.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.sites: set[Site] = set()
        self._config = config
        self._complaints: list[str] = []
        self._refused: list[str] = []

    def see(self, call: Call) -> None:
        """Take note of a call, if it is one of the product's."""
        if call.caller is None:
            return
        self.sites.add(Site(call.caller, xform_name(call.operation)))
        operation = aws_model.service_model(call.service).operation_model(call.operation)
        try:
            aws_model.check_request(operation, call.parameters)
        except AssertionError as error:  # which the product might take for one of AWS's
            self._refused.append(f"{call.caller}: {error}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Run a test; fail it if the product has sent what AWS would not take."""
        try:
            return (yield)
        finally:
            refused, self._refused = self._refused, []
            assert not refused, "\n".join(refused)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        self.sites |= {Site(*site) for site in getattr(node, "workeroutput", {}).get(_KEY, ())}

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """All tests have run."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_KEY] = [tuple(site) for site in self.sites]
        elif exitstatus == pytest.ExitCode.OK and _is_complete(self._config):
            self._complaints = complaints(aws_call_sites.in_source(), self.sites)
            if self._complaints:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what is missing."""
        if self._complaints:
            terminalreporter.section("calls to AWS", red=True)
            for line in self._complaints:
                terminalreporter.line(line)


def install(config: pytest.Config) -> None:
    """See the product's calls in every test."""
    exercised = Exercised(config)
    config.pluginmanager.register(exercised)
    listen_to_all(exercised.see)


def complaints(written: set[Site], seen: set[Site]) -> list[str]:
    """What is wrong where the source has some call sites, and tests have seen calls from some."""
    return [
        *(f"{site}: no test makes this call" for site in sorted(written - seen)),
        *(f"{site}: made, but not found in the source" for site in sorted(seen - written)),
    ]


def _is_complete(config: pytest.Config) -> bool:
    """Whether all unit tests were asked for, and no others."""
    asked = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    options = ("keyword", "markexpr", "lf", "deselect", "ignore")
    chosen = any(config.getoption(name, None) for name in options)  # lf is a plugin's, which may be off
    return asked == [Path(ROOT / "tests" / "unit")] and not chosen
