# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redrive the dead letter queue."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.runs import Runs
from ..modules.dead_letters_redrive import DOCUMENTATION
from ..plugin_utils import dead_letters
from ..plugin_utils.action import ControlAction
from ..plugin_utils.queueing import unwoken, wake
from ..plugin_utils.session import Aws
from ..plugin_utils.wording import counted

_PARAMETERS = ("dead_letter_queue_url", "queue_url", "runs_table")


class ActionModule(ControlAction):
    """Sends back, drops or keeps each message of the dead letter queue."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Go through the queue; wake the dispatcher if anything was sent back."""
        published = aws.parameters(params["prefix"], "training", _PARAMETERS)
        box = dead_letters.DeadLetters(
            aws.client("sqs"),
            published["queue_url"],
            published["dead_letter_queue_url"],
            Runs(aws.table(published["runs_table"])),
            params["purge"],
        )
        letters = []
        for letter in box.redrive(dry=self._task.check_mode):
            self.say(str(letter))
            letters.append(letter)
        counts = Counter(letter.verdict for letter in letters)
        would = " (check mode: nothing was done)" if self._task.check_mode and letters else ""
        self.say(f"{counted(counts)}{would}" if letters else "the dead letter queue is empty")
        sent = [letter.run_id for letter in letters if letter.run_id and letter.verdict == dead_letters.SENT]
        if sent and not self._task.check_mode:
            asleep = wake(aws, params["prefix"], sent[-1], names.EVENT_RUN_SUBMITTED)
            if asleep:
                self.warn(unwoken(asleep, "takes them"))
        if dead_letters.KEPT in counts:
            self.say("What is kept names no run that is recorded: -e purge=true deletes it.")
        return {
            "changed": bool(counts.keys() - {dead_letters.KEPT}),
            "messages": [letter.result() for letter in letters],
        }
