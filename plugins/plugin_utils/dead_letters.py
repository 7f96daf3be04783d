# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead letter queue: what lies in it, and what becomes of each message."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from ..module_utils.contract import names, states, ulid
from ..module_utils.contract.runs import Run, Runs
from .session import aws_errors
from .wording import age, cut

SENT, DROPPED, PURGED, KEPT = "sent back", "dropped", "purged", "kept"

_AT_ONCE = 10  # SQS's own limit
_OUT_OF_SIGHT = 120  # seconds in which no other redrive sees what this one has received
_SHOWN = 60  # characters of a body that cannot be read


@dataclass(frozen=True)
class Letter:
    """A message of the dead letter queue, and what becomes of it.

    Attributes
    ----------
    id:
        SQS's id of the message.
    run_id:
        The run that it names, or None.
    age_seconds:
        How long ago it was sent.
    reason:
        Why the dispatcher put it there.
    verdict:
        SENT, DROPPED, PURGED or KEPT.
    why:
        What the verdict goes by.
    """

    id: str
    run_id: str | None
    age_seconds: int
    reason: str
    verdict: str
    why: str

    def __str__(self) -> str:
        """The line that tells it."""
        return f"{age(self.age_seconds):>4}  {self.verdict:<9}  {self.why} (it came here: {self.reason})"

    def result(self) -> dict[str, Any]:
        """It, as the task returns it."""
        return asdict(self)


class DeadLetters:
    """The dead letter queue beside the queue.

    Parameters
    ----------
    sqs:
        An SQS client.
    queue_url, dead_letter_queue_url:
        Their URLs.
    runs:
        The runs table.
    purge:
        Whether what cannot be read is deleted.
    """

    def __init__(self, sqs: Any, queue_url: str, dead_letter_queue_url: str, runs: Runs, purge: bool) -> None:
        self._sqs, self._runs, self._purge = sqs, runs, purge
        self._queue_url, self._dead_letter_queue_url = queue_url, dead_letter_queue_url

    def redrive(self, dry: bool = False) -> Iterator[Letter]:
        """Deal with each message, and give it with its verdict; if ``dry``, only give it.

        What stays can be received again at once; where that fails, in two minutes.
        """
        left: list[str] = []  # receipts of what stays in the queue
        try:
            for batch in self._batches():
                left += [message["ReceiptHandle"] for message in batch]
                judged = list(self._judged(batch))
                for message, letter in zip(batch, judged, strict=True):
                    if not dry and self._deal_with(message, letter):
                        left.remove(message["ReceiptHandle"])
                    yield letter
        finally:
            for receipt in left:
                with contextlib.suppress(*aws_errors()):  # such as one that another redrive has dealt with
                    self._sqs.change_message_visibility(
                        QueueUrl=self._dead_letter_queue_url, ReceiptHandle=receipt, VisibilityTimeout=0
                    )

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """All messages, each once: what stays may come again before all was seen."""
        seen: set[str] = set()
        while received := self._sqs.receive_message(
            QueueUrl=self._dead_letter_queue_url,
            MaxNumberOfMessages=_AT_ONCE,
            VisibilityTimeout=_OUT_OF_SIGHT,
            WaitTimeSeconds=1,  # without a wait SQS may overlook some
            MessageSystemAttributeNames=["SentTimestamp"],
            MessageAttributeNames=["reason"],
        ).get("Messages"):
            new = [message for message in received if message["MessageId"] not in seen]
            if not new:
                return
            seen.update(message["MessageId"] for message in new)
            yield new

    def _judged(self, batch: list[dict[str, Any]]) -> Iterator[Letter]:
        named = [_run_named(message["Body"]) for message in batch]
        runs = self._runs.get_many({run_id for run_id in named if run_id})
        for message, run_id in zip(batch, named, strict=True):
            reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue")
            verdict, why = self._verdict(message["Body"], run_id, runs.get(run_id) if run_id else None)
            yield Letter(
                id=message["MessageId"],
                run_id=run_id,
                age_seconds=int(time.time() - int(message["Attributes"]["SentTimestamp"]) / 1000),
                reason=reason or "the dispatcher received it several times and failed each time",
                verdict=verdict,
                why=why,
            )

    def _verdict(self, body: str, run_id: str | None, run: Run | None) -> tuple[str, str]:
        if run is None:
            what = f"no run {run_id} is recorded" if run_id else f"it names no run: {cut(body, _SHOWN)!r}"
            return (PURGED if self._purge else KEPT), what
        if run["state"] == states.QUEUED:
            return SENT, f"run {run_id} waits for it"
        if run["state"] in states.ACTIVE:
            return DROPPED, f"run {run_id} is {run['state']} already"
        return DROPPED, f"run {run_id} has ended: it is {run['state']}"

    def _deal_with(self, message: dict[str, Any], letter: Letter) -> bool:
        """Carry out the verdict; returns whether the message has left the queue. Sent before deleted."""
        if letter.verdict == KEPT:
            return False
        if letter.verdict == SENT:
            # Not the body as it was: what was wrong with it would bring it back here.
            body = names.message_body(cast(str, letter.run_id))
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=body)
        self._sqs.delete_message(QueueUrl=self._dead_letter_queue_url, ReceiptHandle=message["ReceiptHandle"])
        return True


def _run_named(body: str) -> str | None:
    """The run that a message names, if it can be made out."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    run_id = content.get("run") if isinstance(content, dict) else None
    return run_id if ulid.is_ulid(run_id) else None
