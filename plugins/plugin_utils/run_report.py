# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run in full: what it is to do, what became of each attempt, and what to do next."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any

from ..module_utils.contract import causes, purposes, states
from ..module_utils.contract import spec as specs
from ..module_utils.contract.findings import many
from ..module_utils.contract.runs import Run
from . import reproduction
from .follow import progress_line
from .listing import told
from .wording import age, clock, counted, moment, score, seconds_since, size, usd

_PLAYBOOK = re.compile(r"\w+\.yml")
_OF_A_RUN = re.compile(r"\b((?:cancel|logs|retry)\.yml)(?: -e run=ID)?")


def lines(run: Run) -> Iterator[str]:
    """The run, a line or a few for each thing there is to say."""
    yield f"run {run['run_id']} of {run['name']}"
    for head, said in _parts(run):
        yield from (f"  {'' if number else head:<12}{line}" for number, line in enumerate(said))


def fix(run: Run) -> str:
    """What a person can do about the run's cause, with the run named; empty if nothing need be done."""
    known = causes.CAUSES.get(run.get("cause") or "")
    said = known.fix if known else ""
    if run.get("purpose"):
        said = said.replace("train.yml", "retry.yml")  # its spec is a version's: nobody has it to submit
    named = _OF_A_RUN.sub(rf"\1 -e run={run['run_id']}", said)
    if not named or named.endswith("."):
        return named
    return f"{named if _PLAYBOOK.match(named) else named[0].upper() + named[1:]}."


def next_steps(run: Run) -> list[str]:
    """What a person can do about the run as it stands: a sentence each."""
    run_id, state = run["run_id"], run["state"]
    if state == states.SUCCEEDED:
        return [f"Serve it: promote.yml -e model={run['model']}."] if run.get("model") else []
    steps = [mended] if (mended := fix(run)) else []
    if state in states.TERMINAL and "retry.yml" not in "".join(steps) and _can_be_retried(run):
        steps.append(f"Begin it anew: retry.yml -e run={run_id}.")
    if state == states.RUNNING:
        steps.append(f"See what it writes: logs.yml -e run={run_id} -e follow=true.")
    return steps


def _parts(run: Run) -> Iterator[tuple[str, list[str]]]:
    yield "state", [f"{run['state']}: {told(run)}" if told(run) else run["state"]]
    if purpose := run.get("purpose"):
        yield "to", [purposes.sentence(purpose)]
    yield "spec", list(_spec(run.get("spec") or {}))
    yield "times", [_times(run)]
    if run.get("attempt"):
        yield "attempts", list(_attempts(run))
    if (cost := run.get("cost")) and any(each["instance_type"] for each in cost["attempts"]):
        yield "cost", list(_cost(cost))
    if progress := run.get("progress"):
        yield "progress", [_progress(progress)]
    if saved := run.get("checkpoint"):
        ago = age(seconds_since(saved["saved"]))
        yield "checkpoint", [f"step {saved['step']}, {ago} ago, {size(saved['bytes'])}"]
    if run.get("model"):
        yield "model", [_model(run)]
    if (result := run.get("result")) and purposes.kind(run) == purposes.REPRODUCE:
        yield "found", list(reproduction.lines(result))
    if run.get("retry_of"):
        yield "retry of", [run["retry_of"]]
    if run.get("retried_as"):
        yield "retried as", [run["retried_as"]]
    if run.get("submitted_by"):
        yield "by", [run["submitted_by"]]
    if run.get("warnings"):
        yield "warnings", list(map(str, run["warnings"]))
    if steps := next_steps(run):
        yield "next", steps


def _spec(spec: dict[str, Any]) -> Iterator[str]:
    given = spec.get("resources", {})
    needs = [f"{given['vcpu']:g} vCPU", f"{given['memory_mib']} MiB"] if given else []
    if given.get("gpus"):
        needs.append(f"{given['gpus']} GPU")
    if given.get("spot"):
        needs.append("spot")
    steps = spec.get("hyperparameters", {}).get("max_steps")
    yield ", ".join(
        [
            f"language {spec.get('language')}",
            *([f"transformer {spec['transformer']['from']}"] if "transformer" in spec else []),
            "a config of its own" if "config" in spec else f"at most {steps} steps",
            f"seed {spec.get('seed')}",
            *needs,
            f"retries {spec.get('retries')}",
            f"at most {spec.get('time_limit_minutes')} minutes an attempt",
        ]
    )
    if "data" in spec:
        yield ", ".join(f"{part} {source['from']}" for part, source in specs.sources(spec).items())


def _times(run: Run) -> str:
    """When it was submitted, and how long it was in which state; STARTING may hold earlier attempts."""
    marks = {states.QUEUED: "created", states.STARTING: "started", states.RUNNING: "running"}
    known = [(state, run[field]) for state, field in marks.items() if run.get(field)]
    moments = [*(moment for __, moment in known), run.get("ended")]
    spans = [
        f"{state} {clock(_between(begun, until))}"
        for (state, begun), until in zip(known, moments[1:], strict=True)
    ]
    return f"submitted {moment(run['created'])}, {', '.join(spans)}"


def _attempts(run: Run) -> Iterator[str]:
    """Each attempt that is over, with the time from the end of the one before; then one under way."""
    history = run.get("history", [])
    begun = run.get("started") or run["created"]
    for attempt in history:
        took = clock(_between(begun, attempt["ended"]))
        code = attempt.get("exit_code")
        exit_code = "" if code is None else f", exit code {code}"
        yield f"{attempt['attempt']}  {took:>7}  {attempt['cause']}{exit_code}: {attempt['reason']}"
        begun = attempt["ended"]
    if not history or history[-1]["attempt"] < run["attempt"]:
        yield f"{run['attempt']}  {clock(_between(begun, run.get('ended'))):>7}  {run['state']}"


def _cost(cost: dict[str, Any]) -> Iterator[str]:
    """What the run has cost, and each attempt that had an instance."""
    unknown = sum(each["usd"] is None for each in cost["attempts"])
    besides = f", and {many(unknown, 'attempt')} whose price is not known" if unknown else ""
    yield "not known" if cost["usd"] is None else f"{usd(cost['usd'])}{besides}"
    for each in cost["attempts"]:
        bought = "spot" if each["spot"] else "on demand"
        price = "price not known" if each["usd"] is None else usd(each["usd"])
        on = each["instance_type"] or "an instance that ECS no longer knew"
        took = f"{clock(each['seconds']):>7}"
        yield f"{each['attempt']}  {took}  {price}: {on}, {bought}, prices of {each['prices']}"


def _progress(progress: dict[str, Any]) -> str:
    parts = [progress.get("phase", "")]
    if "step" in progress:
        parts.append(progress_line(progress))
    if progress.get("resumed"):
        parts.append(f"went on from step {progress['resumed']}")
    return "  ".join(filter(None, parts))


def _model(run: Run) -> str:
    scores = run.get("scores") or {}
    labels = {label: score(of["f"]) for label, of in scores.get("labels", {}).items()}
    return f"{run['model']}  F {score(scores.get('f'))} on {scores.get('on')}  {counted(labels)}".rstrip()


def _can_be_retried(run: Run) -> bool:
    return run["state"] != states.SUCCEEDED and run.get("cause") != causes.WRONG_INPUT


def _between(begun: str, until: str | None) -> float:
    return seconds_since(begun, datetime.datetime.fromisoformat(until) if until else None)
