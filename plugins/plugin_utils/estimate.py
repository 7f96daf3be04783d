# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a spec will take and cost, told from past runs like it, or else by a rule."""

from __future__ import annotations

import datetime
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..module_utils.contract import purposes, states
from ..module_utils.contract import spec as specs
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.prices import Prices
from ..module_utils.contract.runs import Run, Runs
from . import listing
from .upkeep import USABLE_MEMORY, no_price
from .wording import clock, seconds_since, usd

LOOK_BACK = 100  # runs that have succeeded, the newest, among which those like a spec are looked for
ENOUGH = 5  # of those that are like it, the newest

# Where no run was like it. A step on 2 vCPUs took about 0.11 s with `efficiency` and batches of up to 1,000
# words (WikiGold, 2,000 steps in 225 s). `accuracy`, configs of one's own and GPUs: five times that, a guess.
RULE_STEP_SECONDS = 0.11
RULE_FACTOR = 5
# A transformer as large as BERT base on 2 vCPUs, a guess too: 1,500 words are some 2,900 pieces, and each
# takes 6 operations for each of 85 million weights, forward and back, and 7e10 of those are done a second.
RULE_FACTOR_TRANSFORMER_ON_CPU = 200
RULE_AROUND_SECONDS = 60  # fetching data, evaluating, uploading

# An instance that nothing else uses is paid for until ECS gives it back: the alarm of managed scaling waits
# for 15 minutes. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-auto-scaling.html
START_MINUTES, GIVE_BACK_MINUTES = 3, 15

Spec = dict[str, Any]


@dataclass(frozen=True)
class Estimate:
    """What a run of a spec will take and cost, on an instance that it has to itself.

    Parameters
    ----------
    seconds:
        How long it will train.
    basis:
        Where that is from, in words.
    instance_type:
        What it will run on; on spot, the first of those it may get.
    spot:
        Whether it asks for spot.
    hourly:
        USD for an hour of that.
    usd:
        What its training will cost.
    usd_around:
        What the instance will cost before and after it.
    usd_at_most:
        Each attempt that its retries allow, to the time limit, on demand. Attempts that go on after an
        interruption come besides.
    """

    seconds: float
    basis: str
    instance_type: str
    spot: bool
    hourly: float
    usd: float
    usd_around: float
    usd_at_most: float

    def result(self) -> dict[str, Any]:
        """What a task returns of it."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def lines(self) -> Iterator[str]:
        """It, a line for each thing there is to say."""
        bought = "spot" if self.spot else "on demand"
        yield f"  on          {self.instance_type}, {bought}, {self.hourly:.3f} USD an hour"
        yield f"  time        about {clock(self.seconds)}, {self.basis}"
        yield f"  training    {usd(self.usd)}"
        yield (
            f"  around it   {usd(self.usd_around)}: an instance that nothing else uses starts in about "
            f"{START_MINUTES} minutes, and goes {GIVE_BACK_MINUTES} after"
        )
        yield f"  at most     {usd(self.usd_at_most)}: each attempt to its time limit, on demand"


def estimate(spec: Spec, training: dict[str, Any], past: Iterable[Run], prices: Prices) -> Estimate:
    """What a run of a spec will take and cost.

    Parameters
    ----------
    spec:
        The spec, defaults filled in.
    training:
        The training stack's variables, defaults included.
    past:
        Runs that have succeeded, newest first.
    prices:
        By which to count.

    Raises UserError if the stack has no instance for it, or the table no price of that.
    """
    spot = spec["resources"]["spot"] and training["spot_instances"]
    instance_type = _instance_type(spec, training, prices)
    hourly, on_demand = (prices.hourly(instance_type, which) or 0.0 for which in (spot, False))
    seconds, basis = _time(spec, past)
    limit = 60 * spec["time_limit_minutes"]
    if seconds > limit:
        seconds, basis = limit, f"{basis}: longer than time_limit_minutes, which would end it"
    around = 60 * (START_MINUTES + GIVE_BACK_MINUTES)
    return Estimate(
        seconds,
        basis,
        instance_type,
        spot,
        hourly,
        hourly * seconds / 3600,
        hourly * around / 3600,
        on_demand * (limit + around) * (1 + spec["retries"]) / 3600,
    )


def readable(path: Path, spec: Spec) -> Spec:
    """A spec with its config's text in place of the path, as past runs have it."""
    if "config" not in spec:
        return spec
    config = path.parent / Path(spec["config"]).expanduser()
    try:
        return spec | {"config": config.read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot be read: {error}", f"config: {config}", "Paths go from the spec's folder."
        ) from error


def succeeded(runs: Runs) -> list[Run]:
    """The newest runs that have made a model."""
    found = itertools.islice(listing.newest(runs, [states.SUCCEEDED]), LOOK_BACK)
    return [run for run in found if purposes.kind(run) == purposes.TRAIN]


def _time(spec: Spec, past: Iterable[Run]) -> tuple[float, str]:
    """Seconds that a run will train, and where that is from: median pace and steps of those like it."""
    alike = [run for run in past if _is_telling(run) and _pace_key(run["spec"]) == _pace_key(spec)][:ENOUGH]
    steps, about = _steps(spec, alike)
    if alike:
        pace = statistics.median(_seconds(run) / _steps_done(run) for run in alike)
        runs = "the last run" if len(alike) == 1 else f"the last {len(alike)} runs"
        return steps * pace, f"by {runs} like it: {pace:.2g} s a step, {about}"
    measured = spec["device"] == "cpu" and spec.get("optimize") == "efficiency"
    slow = spec["device"] == "cpu" and "transformer" in spec
    factor = RULE_FACTOR_TRANSFORMER_ON_CPU if slow else 1 if measured else RULE_FACTOR
    pace = RULE_STEP_SECONDS * factor
    guess = "a rule of thumb" if measured else "a guess"
    words = f"by {guess}, since no run was like it: {pace:.2g} s a step, {about}"
    return RULE_AROUND_SECONDS + steps * pace, words


def _steps(spec: Spec, alike: list[Run]) -> tuple[float, str]:
    """How many steps it will do: where there is no more to go by, all that it may."""
    same = [run for run in alike if _work(run["spec"]) == _work(spec)]
    if same:
        steps = statistics.median(run["progress"]["step"] for run in same)
        return steps, f"{steps:,.0f} steps as before"
    steps = spec.get("hyperparameters", {}).get("max_steps")
    if steps is None:  # a config of its own: what runs with one took, or spaCy's own default
        steps = max((run["progress"].get("max_steps") or 0 for run in alike), default=0) or 20000
    return steps, f"all {steps:,} steps, if it does not end for want of progress"


def _pace_key(spec: Spec) -> tuple[Any, ...]:
    """What decides how long a step takes, but for the texts themselves."""
    changes = spec.get("hyperparameters", {})
    network = [changes.get(name) for name in ("batch_words", "width", "depth")]
    resources = spec["resources"]
    transformer = specs.inputs(spec).get("transformer", {}).get("from", "")
    return (
        spec["device"],
        resources["vcpu"],
        resources["gpus"],
        spec.get("optimize"),
        network,
        spec.get("config"),
        PurePosixPath(transformer).name,  # the record has its address without secrets
    )


def _work(spec: Spec) -> tuple[Any, ...]:
    """What decides how many steps there will be, but for luck."""
    return spec["name"], spec.get("hyperparameters"), spec.get("config")


def _is_telling(run: Run) -> bool:
    return bool(run.get("running") and run.get("ended") and run.get("spec")) and _steps_done(run) > 0


def _steps_done(run: Run) -> int:
    """Steps of the last attempt, which is the one that the record has the times of."""
    progress = run.get("progress") or {}
    return int(progress.get("step", 0)) - int(progress.get("resumed", 0))


def _seconds(run: Run) -> float:
    return seconds_since(run["running"], datetime.datetime.fromisoformat(run["ended"]))


def _instance_type(spec: Spec, training: dict[str, Any], prices: Prices) -> str:
    kind = "gpu" if spec["device"] == "gpu" else "cpu"
    if not training[f"{kind}_max_instances"]:
        fix = "Set device: cpu, or deploy with gpu_max_instances above 0 in nerforge_training_variables."
        raise UserError("this deployment has no GPU instances", "device", fix)
    name = str(training[f"{kind}_instance_types"][0])
    has, wants = prices.instances.get(name), spec["resources"]
    if has is None:
        raise no_price(name, prices)
    memory_mib = math.floor(has.memory_mib * USABLE_MEMORY)
    for field, of_instance in (("vcpu", has.vcpu), ("memory_mib", memory_mib), ("gpus", has.gpus)):
        if wants[field] > of_instance:
            what = f"{wants[field]:g} asked for, and {name} has {of_instance:g}"
            fix = f"Ask for less, or deploy larger {kind}_instance_types."
            raise UserError(what, f"resources.{field}", fix)
    return name
