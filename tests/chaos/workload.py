"""What a campaign trains, and what is to befall each run: drawn before it begins, from one seed."""

import hashlib
import json
import random
import signal
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from nerforge_contract import names
from nerforge_contract import spec as specs

SEEDS = (1, 2, 3)  # as many different models; runs of the same seed must get the same weights
MODELS = ("chaos-even", "chaos-odd")  # fewer than there are seeds, so that runs race for version numbers
LABELS = ["MISSION", "BODY", "AGENCY", "ROCKET"]
SENTENCES = {"train": 100, "dev": 30}


class Kind(StrEnum):
    """What is to become of a run."""

    GOOD = "good"  # succeeds
    WRONG = "wrong"  # has a label that no example has: fails at once
    CANCELLED = "cancelled"  # is cancelled midway
    RETRIED = "retried"  # is cancelled midway and then retried by its operator


SHARES = {Kind.GOOD: 0.72, Kind.WRONG: 0.1, Kind.CANCELLED: 0.1, Kind.RETRIED: 0.08}


@dataclass(frozen=True)
class Blow:
    """A signal for one attempt.

    Parameters
    ----------
    signal:
        SIGTERM or SIGKILL.
    call:
        It comes in the middle of the attempt's so-manieth call to AWS; None: by the clock.
    seconds:
        So long after the attempt was first seen.
    """

    signal: signal.Signals
    call: int | None
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What is to befall one run.

    Parameters
    ----------
    seed:
        Its spec's.
    kind:
        What is to become of it.
    copies:
        How often its message is sent.
    blows:
        One for each of its first attempts.
    cancel:
        The state in which it is cancelled, and seconds after it was first seen in that; None: never.
    """

    seed: int
    kind: Kind
    copies: int = 1
    blows: tuple[Blow, ...] = ()
    cancel: tuple[str, float] | None = None


@dataclass
class Data:
    """The parts of the data: a cut of the sample corpus, so that a run is short."""

    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of_sample(cls, root: Path) -> "Data":
        """Cut from the corpus in the project's ``root``."""
        folder = root / "playbooks" / "specs" / "sample"
        return cls(
            {
                part: b"".join((folder / f"{part}.jsonl").read_bytes().splitlines(keepends=True)[:count])
                for part, count in SENTENCES.items()
            }
        )

    def sources(self) -> dict[str, dict[str, str]]:
        """``data`` of a submitted spec."""
        return {part: _source(part, content) for part, content in self.files.items()}

    def upload(self, s3: Any, bucket: str) -> None:
        """Put the parts where submitted specs have them."""
        for part, content in self.files.items():
            s3.put_object(Bucket=bucket, Key=_source(part, content)["key"], Body=content)


def _source(part: str, content: bytes) -> dict[str, str]:
    digest = hashlib.sha256(content).hexdigest()
    return {
        "from": f"{part}.jsonl",
        "key": names.dataset_key(digest, ".jsonl"),
        "sha256": digest,
        "format": "jsonl",
    }


def spec(data: Data, seed: int, kind: Kind = Kind.GOOD) -> dict[str, Any]:
    """A spec as the run's record has it."""
    wanted = {
        "name": MODELS[seed % len(MODELS)],
        "data": data.sources(),
        "labels": LABELS + ["MOON"] * (kind is Kind.WRONG),
        "hyperparameters": {
            "max_steps": 60,
            "eval_frequency": 20,
            "width": 16,
            "depth": 2,
            "batch_words": [150, 300],
        },
        "seed": seed,
        "checkpoints": {"every_steps": 12},
        "resources": {"vcpu": 1, "memory_mib": 1024},
        "retries": 10,  # so that no run fails for its faults alone
        "time_limit_minutes": 30,
    }
    specs.validate(wanted, submitted=True)
    return specs.with_defaults(wanted)


def plans(rng: random.Random, runs: int) -> list[Plan]:
    """So many plans; every kind and every seed has its share of them, however few they are."""
    kinds = [kind for kind in SHARES for __ in range(max(1, round(SHARES[kind] * runs)))]
    kinds = (kinds + [Kind.GOOD] * runs)[:runs] if len(kinds) < runs else kinds[len(kinds) - runs :]
    rng.shuffle(kinds)
    return [_plan(rng, SEEDS[i % len(SEEDS)], kind) for i, kind in enumerate(kinds)]


def _plan(rng: random.Random, seed: int, kind: Kind) -> Plan:
    blows = tuple(_blow(rng) for __ in range(rng.choices((0, 1, 2), (35, 45, 20))[0]))
    cancel = None
    if kind in (Kind.CANCELLED, Kind.RETRIED):
        cancel = rng.choices(("QUEUED", "STARTING", "RUNNING"), (1, 1, 4))[0], rng.uniform(0, 5)
    return Plan(seed, kind, rng.choices((1, 2, 3), (50, 35, 15))[0], blows, cancel)


def _blow(rng: random.Random) -> Blow:
    number = rng.choice((signal.SIGTERM, signal.SIGKILL))
    return Blow(number, rng.choice((None, rng.randint(1, 40))), rng.uniform(0.2, 7))


def described(plan: Plan) -> str:
    """A plan in one line, for the report on a run that went wrong."""
    return json.dumps(
        {
            "kind": plan.kind,
            "seed": plan.seed,
            "messages": plan.copies,
            "blows": [
                f"{blow.signal.name} {f'at call {blow.call}' if blow.call else f'after {blow.seconds:.1f} s'}"
                for blow in plan.blows
            ],
            "cancel": plan.cancel and f"{plan.cancel[1]:.1f} s into {plan.cancel[0]}",
        }
    )
