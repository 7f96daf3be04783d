# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run, followed to its end: a generator of its changes, and the lines that tell them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..module_utils.contract import states
from ..module_utils.contract.runs import Run
from .listing import told
from .session import aws_errors, is_transient
from .wording import Say, clock, counted, score, seconds_since

_PATIENCE = 120.0  # seconds without an answer before it gives up
_PROGRESS_EVERY = 10.0  # seconds between two lines of progress that bring no new score
_STILL_EVERY = 30.0  # seconds without any line before it says that it still waits


def watch(
    read: Callable[[], Run],
    say: Say,
    interval: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Run:
    """Say what happens to a run until it ends, and return it as it then is.

    Parameters
    ----------
    read:
        Reads the run; a failure that may pass is borne for two minutes.
    say:
        Takes a line.
    interval:
        Seconds between two looks.
    """
    previous: Run = {}
    said = progress_said = now()
    for run in _looks(read, say, interval, sleep, now):
        line = change(previous, run, now() - progress_said >= _PROGRESS_EVERY)
        if line is None and now() - said >= _STILL_EVERY:
            line = f"still {run['state']}: {told(run) or 'no news'}"
        if line:
            say(f"{_elapsed(run):>7}  {line}")
            previous, said = run, now()
            if run.get("progress"):
                progress_said = now()
        if run["state"] in states.TERMINAL:
            return run
    raise AssertionError("the looks never end by themselves")


def change(before: Run, run: Run, progress_is_due: bool) -> str | None:
    """The line that tells what is new in ``run``, or None."""
    state, attempt = run["state"], run.get("attempt", 0)
    if state != before.get("state") or attempt != before.get("attempt"):
        return _state_line(run)
    if run.get("reason") != before.get("reason") and run.get("reason"):
        return f"{state:<10}{told(run)}"
    progress, old = run.get("progress") or {}, before.get("progress") or {}
    if progress.get("resumed") not in (None, old.get("resumed")):
        return f"{state:<10}goes on from step {progress['resumed']}"
    if progress.get("phase") not in (None, old.get("phase")):
        return f"{state:<10}{progress['phase']}"
    if "step" in progress and progress != old and (progress_is_due or progress.get("f") != old.get("f")):
        return f"{state:<10}{progress_line(progress)}"
    return None


def progress_line(progress: dict[str, Any]) -> str:
    """``step 400/2000  epoch 3  loss 812.40  dev F 0.412``, of what there is."""
    parts = [f"step {progress['step']}/{progress.get('max_steps', '?')}"]
    if progress.get("epoch") is not None:
        parts.append(f"epoch {progress['epoch']}")
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.2f}")
    if progress.get("f") is not None:
        parts.append(f"dev F {score(progress['f'])}")
    return "  ".join(parts)


def _state_line(run: Run) -> str:
    state = run["state"]
    if state == states.SUCCEEDED and run.get("model"):
        scores = run.get("scores") or {}
        labels = {label: score(of["f"]) for label, of in scores.get("labels", {}).items()}
        made = f"{state:<10}{run['model']}"
        return f"{made}  F {score(scores.get('f'))} on {scores.get('on')}  {counted(labels)}"
    attempt = f"attempt {run['attempt']}" if run.get("attempt") and state != states.SUCCEEDED else ""
    said = ", ".join(part for part in (attempt, told(run)) if part)
    return f"{state:<10}{said}".rstrip()


def _elapsed(run: Run) -> str:
    end = run.get("ended")
    return clock(seconds_since(run["created"]) - (seconds_since(end) if end else 0))


def _looks(
    read: Callable[[], Run],
    say: Say,
    interval: float,
    sleep: Callable[[float], None],
    now: Callable[[], float],
) -> Iterator[Run]:
    answered = now()
    silent = False
    while True:
        try:
            run = read()
        except aws_errors() as error:
            if not is_transient(error) or now() - answered > _PATIENCE:
                raise
            if not silent:
                say(f"no answer just now, trying on: {error}")
            silent = True
        else:
            answered, silent = now(), False
            yield run
        sleep(interval)
