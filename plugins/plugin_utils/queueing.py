# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A checked spec becomes a queued run, and the dispatcher is woken."""

from __future__ import annotations

from typing import Any

from ..module_utils.contract import causes, names, states, ulid
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs, now
from .session import Aws, aws_errors

PARAMETERS = ("queue_url", "runs_table")


def enqueue(
    aws: Aws,
    prefix: str,
    deployment: dict[str, str],
    spec: dict[str, Any],
    retry_of: Run | None = None,
    **fields: Any,
) -> tuple[str, str | None]:
    """Record a run, queue it, and wake the dispatcher of the deployment under ``prefix``.

    Parameters
    ----------
    deployment:
        What the training stack published, of `PARAMETERS` at least.
    spec:
        The spec, checked and resolved.
    retry_of:
        The run that it begins anew, as it was read; None for a run of its own.
    fields:
        What else its record is to have; what is None is left out.

    Returns the run's id, and why the dispatcher could not be woken, if so: it then takes the run at its next
    tick. Raises UserError if somebody else has begun to retry the same run; or if the queue takes no message,
    and the run is then recorded as FAILED.
    """
    runs = Runs(aws.table(deployment["runs_table"]))
    run_id = ulid.new()
    recorded = {"submitted_by": aws.caller()}
    recorded |= {key: value for key, value in fields.items() if value is not None}
    if retry_of is None:
        runs.create(run_id, spec, **recorded)
    elif not runs.create_retry(run_id, spec, retry_of, **recorded):
        fix = "Give the same command again: it follows that run."
        raise UserError("somebody else has just begun it anew", f"run {retry_of['run_id']}", fix)
    try:
        send(aws, deployment["queue_url"], run_id)
    except aws_errors() as error:
        reason = f"it could not be queued: {aws.explained(error)}"
        ended: dict[str, Any] = {"cause": causes.NOT_QUEUED, "reason": reason, "ended": now()}
        # The answer alone may have been lost: a run that is QUEUED no more got its message through.
        if runs.move(run_id, states.QUEUED, states.FAILED, **ended):
            fix = f"Queue it again: retry.yml -e run={run_id}."
            raise UserError(f"{reason} The run is recorded as FAILED", f"run {run_id}", fix) from error
    return run_id, wake(aws, prefix, run_id, names.EVENT_RUN_SUBMITTED)


def send(aws: Aws, queue_url: str, run_id: str) -> None:
    """Put a run's message on the queue."""
    aws.client("sqs").send_message(QueueUrl=queue_url, MessageBody=names.message_body(run_id))


def unwoken(why: str, does: str = "takes the run") -> str:
    """What tells that the dispatcher was not woken, for the reason that `enqueue` or `wake` returned.

    Parameters
    ----------
    does:
        What it does at its next tick.
    """
    return f"the dispatcher was not woken, and {does} within a minute: {why}"


def wake(aws: Aws, prefix: str, run_id: str, event: str) -> str | None:
    """Tell the dispatcher of the deployment under ``prefix`` to tick now.

    Parameters
    ----------
    event:
        ``names.EVENT_RUN_SUBMITTED`` or ``names.EVENT_RUN_CANCELLED``.

    Returns why it could not be told, if so: it then ticks within a minute all the same.
    """
    entry = {
        "Source": names.EVENT_SOURCE,
        "DetailType": event,
        "Detail": names.event_detail(prefix, run_id),
    }
    try:
        answer = aws.client("events").put_events(Entries=[entry])
    except aws_errors() as error:
        return str(aws.explained(error))
    return answer["Entries"][0].get("ErrorMessage", "no reason given") if answer["FailedEntryCount"] else None
