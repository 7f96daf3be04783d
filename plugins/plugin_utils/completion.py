# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run followed until it has ended; where it did not succeed, why, with the last lines of its log."""

from __future__ import annotations

from typing import cast

from ..module_utils.contract import names, states
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs
from . import logs, run_report
from .follow import watch
from .listing import told
from .session import Aws
from .wording import Say

PARAMETERS = ("runs_table", "trainer_log_group")


class RunFailed(UserError):
    """A run has ended otherwise than SUCCEEDED; ``run`` is its record."""

    def __init__(self, run: Run, group: str) -> None:
        why = (told(run) or "no reason is recorded").rstrip(".")
        what = f"run {run['run_id']} {run['state']}: {why}. Its log is in the log group {group}"
        super().__init__(what, fix=" ".join(run_report.next_steps(run)))
        self.run = run


def completed(aws: Aws, deployment: dict[str, str], run_id: str, say: Say, interval: float = 1.0) -> Run:
    """Say what happens to a run until it ends; returns it as it then is.

    Parameters
    ----------
    deployment:
        What the training stack published, of `PARAMETERS` at least.
    interval:
        Seconds between two looks.

    Raises RunFailed, once the log's last lines are said, unless it has SUCCEEDED.
    """
    runs = Runs(aws.table(deployment["runs_table"]))
    say(f"following run {run_id}")
    run = watch(lambda: cast(Run, runs.get(run_id)), say, interval)
    if run["state"] != states.SUCCEEDED:
        _tell_log(aws, deployment["trainer_log_group"], run, say)
        raise RunFailed(run, deployment["trainer_log_group"])
    return run


def _tell_log(aws: Aws, group: str, run: Run, say: Say) -> None:
    if not run.get("task_arn"):
        return
    stream = names.log_stream(names.TRAINER_CONTAINER, run["task_arn"])
    if lines := logs.tail(aws.client("logs"), group, stream):
        say(f"the last lines of {stream} in {group}:")
        for line in lines:
            say(line)
