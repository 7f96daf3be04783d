# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment costs a month while nothing trains, by the variables of its stacks.

Each resource that AWS bills by time has a line. What it bills by use, such as requests to the bucket, has
none: an idle deployment pays nothing for it, or cents, as for the logs of Container Insights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..module_utils.contract.errors import UserError
from ..module_utils.contract.prices import HOURS_A_MONTH, InstanceType, Prices
from .wording import WHOLE, table

ALWAYS, SERVED = "always", "while a model is served"

ZONES = 2  # of the VPC that the training stack makes, and so of what lies in each of its subnets
ENDPOINTS = 7  # interface endpoints that the training stack makes with network = "endpoints"
VOLUME_GB = 100  # of each container instance, as its launch template has it
_DISPATCHER_METRICS = 4  # that it logs of each tick
_INSIGHTS_OF_CLUSTER, _INSIGHTS_OF_SERVICE, _INSIGHTS_OF_TASK = 8, 11, 6  # metrics of Container Insights
_TICKS_A_MONTH = HOURS_A_MONTH * 60
_TICK_SECONDS, _TICK_GB, _TICK_LOG_BYTES = 1.0, 0.25, 1000
_TICK_WRITES, _TICK_RECEIVES = 1, 1
USABLE_MEMORY = 0.95  # of an instance's, beside its own system

Variables = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """Something that costs by the month.

    Parameters
    ----------
    when:
        ALWAYS or SERVED.
    what:
        It, in words.
    usd:
        USD a month.
    """

    when: str
    what: str
    usd: float

    def result(self) -> dict[str, Any]:
        """What a task returns of it."""
        return asdict(self) | {"usd": round(self.usd, 2)}


def bill(training: Variables, serving: Variables, prices: Prices) -> list[Line]:
    """All that an idle deployment costs a month, and what comes to it while a model is served.

    Parameters
    ----------
    training, serving:
        The stacks' variables, defaults included.
    prices:
        By which to count.

    Raises UserError if the server's instance type has no price, or no room for a task.
    """
    return [*_always(training, serving, prices), *_while_served(training, serving, prices)]


def network(choice: str, prices: Prices) -> float:
    """USD a month that ways to the AWS APIs cost where nothing runs: see ``network`` of the training stack.

    ``public`` costs nothing then; each instance that runs has an address besides.
    """
    services = prices.services
    hourly = {
        "public": 0.0,
        "endpoints": ZONES * ENDPOINTS * services["interface_endpoint_hour"],
        "nat": ZONES * (services["nat_gateway_hour"] + services["public_address_hour"]),
    }
    return hourly[choice] * HOURS_A_MONTH


def alarm_metrics(training: Variables, serving: Variables) -> int:
    """The metrics that the alarms of both stacks watch: AWS bills an alarm by those."""
    groups = 2 if serving["traffic_shifting"] else 1
    of_training = 5 if training.get("dispatcher", True) else 4
    of_serving = 2 * groups + 1 + 3 + 1  # hosts in two alarms, tasks wanted, errors, latency
    of_releases = 5 * groups if serving["deployment_alarms"] else 0
    of_autoscaling = 2 * 1 + 2 * 2 if serving["autoscaling"] else 0  # an alarm for out and in, by policy
    return of_training + of_serving + of_releases + of_autoscaling


def lines(found: list[Line], training: Variables, prices: Prices) -> Iterator[str]:
    """The bill as a table, and what the other ways to the AWS APIs would cost."""
    rows = []
    for when in (ALWAYS, SERVED):
        those = [line for line in found if line.when == when]
        total = sum(line.usd for line in those)
        rows += [(f"{line.usd:.2f}", line.what) for line in those]
        rows += [(f"{total:.2f}", f"in all{' besides' if when == SERVED else ''}, {when}"), ("", "")]
    yield from table(("USD", "A MONTH"), rows[:-1], WHOLE)
    yield ""
    yield "Besides come taxes, and what is billed by use: requests, traffic, logs, further storage."
    address = prices.services["public_address_hour"] * HOURS_A_MONTH
    choice = training["network"] if training["vpc"] is None else None
    yield "Ways from the instances to the AWS APIs (network in nerforge_training_variables), USD a month:"
    said = {
        "public": f"public subnets, closed groups; {address:.2f} for an instance that runs all month",
        "endpoints": f"{ENDPOINTS} interface endpoints in {ZONES} zones, no way to the internet",
        "nat": f"a NAT gateway in each of {ZONES} zones",
    }
    for name, about in said.items():
        yield f"  {network(name, prices):>6.2f}  {name}: {about}{', as deployed' if name == choice else ''}"


def _always(training: Variables, serving: Variables, prices: Prices) -> Iterator[Line]:
    services = prices.services

    def line(what: str, usd: float) -> Line:
        return Line(ALWAYS, what, usd)

    yield line("load balancer", services["load_balancer_hour"] * HOURS_A_MONTH)
    if serving["certificate_arn"]:
        count = len(training["vpc"]["public_subnet_ids"]) if training["vpc"] else ZONES
        addresses = count * services["public_address_hour"] * HOURS_A_MONTH
        yield line(f"its {count} public addresses", addresses)
    if training["vpc"] is None and (ways := network(training["network"], prices)):
        yield line(f"ways to the AWS APIs: {training['network']}", ways)
    watched = alarm_metrics(training, serving)
    yield line(f"alarms, which watch {watched} metrics", watched * services["alarm_metric_month"])
    metrics = _DISPATCHER_METRICS + _INSIGHTS_OF_CLUSTER + _INSIGHTS_OF_SERVICE
    yield line(f"{metrics} metrics of dispatcher and cluster", metrics * services["custom_metric_month"])
    tick = (
        _TICK_SECONDS * _TICK_GB * services["lambda_gb_second"]
        + _TICK_WRITES * services["table_write"]
        + _TICK_RECEIVES * services["queue_request"]
        + _TICK_LOG_BYTES / 1e9 * services["log_gb"]
    )
    if training.get("dispatcher", True):
        yield line("dispatcher, each minute", _TICKS_A_MONTH * tick)
    if serving["api_keys_secret_arn"]:
        yield line("secret with the API keys", services["secret_month"])
    stored = services["image_gb_month"] + services["object_gb_month"]
    yield line("images and models, for a GB of each", stored)


def _while_served(training: Variables, serving: Variables, prices: Prices) -> Iterator[Line]:
    name = training["cpu_instance_types"][0]
    instance = prices.instances.get(name)
    if instance is None:
        raise no_price(name, prices)
    count = _instances(instance, name, serving)
    of = f"{count} {name}" if count == 1 else f"{count} of {name}"
    hours = count * HOURS_A_MONTH
    yield Line(SERVED, f"{of}, for {serving['desired_count']} server tasks", hours * instance.on_demand)
    yield Line(
        SERVED, f"{VOLUME_GB} GB of volume each", count * VOLUME_GB * prices.services["volume_gb_month"]
    )
    if training["vpc"] is None and training["network"] == "public":
        yield Line(SERVED, "a public address each", hours * prices.services["public_address_hour"])
    yield Line(
        SERVED,
        f"{_INSIGHTS_OF_TASK} metrics of the server",
        _INSIGHTS_OF_TASK * prices.services["custom_metric_month"],
    )


def no_price(instance_type: str, prices: Prices) -> UserError:
    """What tells that the table has no price of an instance type."""
    return UserError(
        f"the prices of {prices.dated} have none of {instance_type}",
        "cpu_instance_types or gpu_instance_types",
        "Ask AWS for it: cost.yml -e refresh=true, once the training stack is deployed.",
    )


def _instances(instance: InstanceType, name: str, serving: Variables) -> int:
    """How many instances the server's tasks fill, packed as closely as they go."""
    room = min(
        math.floor(instance.vcpu * 1024 / serving["cpu"]),
        math.floor(instance.memory_mib * USABLE_MEMORY / serving["memory_mib"]),
    )
    if not room:
        what = f"a server task of {serving['cpu']} CPU units and {serving['memory_mib']} MiB fits no {name}"
        raise UserError(what, "cpu_instance_types", "Deploy larger instances, or smaller tasks.")
    count: int = math.ceil(serving["desired_count"] / room)
    return count
