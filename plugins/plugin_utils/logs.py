# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a task's log, for those who ask why it failed."""

from __future__ import annotations

from typing import Any

from .session import aws_errors

_LINES = 10


def tail(logs: Any, group: str, task_arn: str, lines: int = _LINES) -> list[str]:
    """The last lines that a task wrote, or none if its log cannot be had.

    Parameters
    ----------
    logs:
        A CloudWatch Logs client.
    group:
        The log group.
    task_arn:
        The task: streams of the awslogs driver end with its id.
    """
    task = task_arn.rpartition("/")[2]
    try:
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
        streams = (stream["logStreamName"] for page in pages for stream in page["logStreams"])
        stream = next((name for name in streams if name.rpartition("/")[2] == task), None)
        if stream is None:
            return []
        answer = logs.get_log_events(
            logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False
        )
    except aws_errors():
        return []  # whoever asks is telling of a failure already
    return [event["message"].rstrip() for event in answer["events"]][-lines:]
