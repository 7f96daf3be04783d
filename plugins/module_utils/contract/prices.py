"""Prices in USD, and what an attempt of a run has cost by them.

``prices.json`` beside this module is the one table of them, with its date and source. A deployment may have
a newer one of its region, which cost.yml fetches from AWS into the runs table.
"""

from __future__ import annotations

import datetime
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOURS_A_MONTH = 730  # as AWS's own calculator has it: 365 * 24 / 12

Cost = dict[str, Any]


@dataclass(frozen=True)
class InstanceType:
    """An EC2 instance type and what an hour of it costs.

    Attributes
    ----------
    vcpu, memory_mib, gpus:
        What it has.
    on_demand:
        USD an hour.
    spot:
        USD an hour as it was when the table was made; None: nobody has looked.
    """

    vcpu: float
    memory_mib: int
    gpus: int
    on_demand: float
    spot: float | None = None


@dataclass(frozen=True)
class Prices:
    """A table of prices.

    Attributes
    ----------
    dated:
        The day they were looked up, ISO 8601.
    region:
        The AWS region they are of.
    source:
        Where they are from, in words.
    spot_share:
        What an hour on spot costs beside one on demand, where an instance type has no price of its own.
    instances:
        By instance type.
    services:
        All else; a name ends with what the price is of.
    """

    dated: str
    region: str
    source: str
    spot_share: float
    instances: dict[str, InstanceType]
    services: dict[str, float]

    @classmethod
    def of(cls, table: dict[str, Any]) -> Prices:
        """The prices in a table as ``prices.json`` is one."""
        instances = {name: InstanceType(**about) for name, about in table["instances"].items()}
        return cls(**table | {"instances": instances})

    def hourly(self, instance_type: str, spot: bool) -> float | None:
        """USD for an hour of an instance; None for a type that the table does not have."""
        known = self.instances.get(instance_type)
        if known is None:
            return None
        if not spot:
            return known.on_demand
        return known.on_demand * self.spot_share if known.spot is None else known.spot


@functools.cache
def bundled() -> Prices:
    """The table that comes with the code. Shared: do not change it."""
    return Prices.of(json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8")))


def completed(table: dict[str, Any]) -> Prices:
    """The prices in a recorded table, and in those of services what an older release did not record."""
    return Prices.of(table | {"services": bundled().services | table["services"]})


# --- what attempts have cost, as a run's record has it ---


def of_attempt(
    attempt: int,
    began: datetime.datetime,
    ended: datetime.datetime,
    instance_type: str | None,
    spot: bool,
    prices: Prices,
) -> dict[str, Any]:
    """The account of an attempt: the whole price of its instance for as long as the attempt held it.

    ``usd`` is None where the instance's type is not known, or not in the table; ``prices`` is that one's day
    and region.
    """
    seconds = max(0, round((ended - began).total_seconds()))
    hourly = prices.hourly(instance_type, spot) if instance_type else None
    return {
        "attempt": attempt,
        "seconds": seconds,
        "instance_type": instance_type,
        "spot": spot,
        "usd": None if hourly is None else round(hourly * seconds / 3600, 6),
        "prices": f"{prices.dated}, {prices.region}",
    }


def with_attempt(cost: Cost | None, account: dict[str, Any]) -> Cost:
    """A run's cost with the account of one more attempt; one of that number makes place for it.

    Returns ``attempts``, and in ``usd`` their sum, as far as it is known; None if nothing is.
    """
    others = [each for each in (cost or {}).get("attempts", ()) if each["attempt"] != account["attempt"]]
    attempts = sorted([*others, account], key=lambda each: int(each["attempt"]))
    known = [each["usd"] for each in attempts if each["usd"] is not None]
    return {"usd": round(sum(known), 6) if known else None, "attempts": attempts}
