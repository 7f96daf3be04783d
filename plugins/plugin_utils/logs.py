# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a task's log, for those who ask why it failed."""

from __future__ import annotations

from typing import Any

from .session import aws_errors

_LINES = 10


def tail(logs: Any, group: str, stream: str, lines: int = _LINES) -> list[str]:
    """The last lines of a log stream, or none if they cannot be had.

    Parameters
    ----------
    logs:
        A CloudWatch Logs client.
    group, stream:
        The log group, and the stream in it, as `names.log_stream` has it.
    lines:
        The most lines.
    """
    try:
        answer = logs.get_log_events(
            logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False
        )
    except aws_errors():
        return []  # whoever asks is telling of a failure already
    return [event["message"].rstrip() for event in answer["events"]][-lines:]
