# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECS's deployment strategies: what UpdateService is told of one, and how a shift of requests stands.

A rolling deployment is followed by what DescribeServices says of it. The other strategies (blue/green, canary
and linear) shift requests from one target group to another in stages, which its service deployment tells:
the record behind DescribeServiceDeployments, called a shift here.
"""

from __future__ import annotations

import math
from typing import Any

ROLLING, BLUE_GREEN = "ROLLING", "BLUE_GREEN"

Shift = dict[str, Any]

_ENDS = {"SUCCESSFUL": True, "STOPPED": False, "ROLLBACK_SUCCESSFUL": False, "ROLLBACK_FAILED": False}
_GOING_BACK = frozenset({"STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"})
_STAGES = {
    "RECONCILE_SERVICE": "waits for what went before it",
    "PRE_SCALE_UP": "is about to start",
    "SCALE_UP": "{running} of {wanted} running, gets no requests yet",
    "POST_SCALE_UP": "{running} of {wanted} running, gets no requests yet",
    "TEST_TRAFFIC_SHIFT": "{running} of {wanted} running, gets no requests yet",
    "POST_TEST_TRAFFIC_SHIFT": "{running} of {wanted} running, gets no requests yet",
    "PRE_PRODUCTION_TRAFFIC_SHIFT": "gets {percent:g} % of the requests",
    "PRODUCTION_TRAFFIC_SHIFT": "gets {percent:g} % of the requests",
    "POST_PRODUCTION_TRAFFIC_SHIFT": "gets all requests",
    "BAKE_TIME": "gets all requests and is watched, the tasks before it stand by",
    "CLEAN_UP": "gets all requests, the tasks before it end",
}


def shifts(described: dict[str, Any]) -> bool:
    """Whether the strategy of a service, as DescribeServices or a request has it, shifts requests."""
    return bool(described.get("deploymentConfiguration", {}).get("strategy", ROLLING) != ROLLING)


def request(published: dict[str, Any], described: dict[str, Any], at_once: bool = False) -> dict[str, Any]:
    """What UpdateService is given for a release by a strategy that shifts requests, besides the revision.

    Parameters
    ----------
    published:
        ``deploymentConfiguration`` and ``loadBalancers``, as the serving stack publishes them.
    described:
        The service as DescribeServices has it now.
    at_once:
        Whether to shift all requests as soon as the tasks are ready, and to end the others without a wait.
    """
    knows_both = any("advancedConfiguration" in balancer for balancer in described["loadBalancers"])
    if not knows_both or not described["desiredCount"]:
        # ECS learns of both target groups, and can shift the next. Where nothing runs, nothing is shifted.
        return _by(published, strategy=ROLLING)
    return _by(published, strategy=BLUE_GREEN, bakeTimeInMinutes=0) if at_once else published


def unwatched(published: dict[str, Any]) -> dict[str, Any]:
    """The published request with its alarms off: told so, since ECS keeps what it is not told."""
    configuration = published.get("deploymentConfiguration", {})
    if "alarms" not in configuration:
        return published
    alarms = configuration["alarms"] | {"enable": False, "rollback": False}
    return published | {"deploymentConfiguration": configuration | {"alarms": alarms}}


def wait_seconds(published: dict[str, Any]) -> float:
    """How long a strategy watches a deployment, besides the time that its tasks take to start."""
    configuration = published.get("deploymentConfiguration", {})
    minutes: float = configuration.get("bakeTimeInMinutes", 0)
    if canary := configuration.get("canaryConfiguration"):
        minutes += canary["canaryBakeTimeInMinutes"]
    if linear := configuration.get("linearConfiguration"):
        minutes += (math.ceil(100 / linear["stepPercent"]) - 1) * linear["stepBakeTimeInMinutes"]
    return minutes * 60.0


def succeeded(shift: Shift) -> bool | None:
    """Whether a shift has succeeded; None while it, or the way back from it, is under way."""
    return _ENDS.get(shift["status"])


def is_being_undone(shift: Shift) -> bool:
    """Whether ECS gives the requests back to the tasks before."""
    return shift["status"] in _GOING_BACK


def seen(description: dict[str, Any], shift: Shift | None) -> dict[str, Any]:
    """A service with the state of its shift told as a rolling deployment's is, and ``standing`` in words.

    What DescribeServices says of the PRIMARY deployment stays if the latest shift is not its own: the record
    of a shift may come a little later.
    """
    if shift is None:
        return description
    top = next(item for item in description["deployments"] if item["status"] == "PRIMARY")
    state: dict[str, str] = {}
    if top["taskDefinition"] == shift["taskDefinition"]:
        told = {True: "COMPLETED", False: "FAILED", None: "IN_PROGRESS"}[succeeded(shift)]
        why = "; ".join(reasons(shift))
        state = {"rolloutState": told, "rolloutStateReason": why, "standing": standing(shift)}
    elif shift["status"] == "ROLLBACK_SUCCESSFUL":
        state = {"rolloutState": "COMPLETED"}
    if not state:
        return description
    deployments = [
        item | (state if item is top else {"standing": f"{item['runningCount']} running"})
        for item in description["deployments"]
    ]
    return description | {"deployments": deployments, "shift": shift}


def standing(shift: Shift) -> str:
    """How a shift stands, in words that follow the model's name."""
    if is_being_undone(shift):
        return "is being undone, the tasks before it get the requests back"
    target = shift.get("targetServiceRevision", {})
    stage: str = shift.get("lifecycleStage", "PRE_SCALE_UP")
    return _STAGES.get(stage, stage.lower().replace("_", " ")).format(
        running=target.get("runningTaskCount", 0),
        wanted=target.get("requestedTaskCount", 0),
        percent=target.get("requestedProductionTrafficWeight", 0),
    )


def reasons(shift: Shift) -> list[str]:
    """Why a shift was undone, as far as ECS says."""
    alarms = shift.get("alarms", {}).get("triggeredAlarmNames", [])
    told = [f"the alarm {name} went off" for name in alarms]
    told += [shift.get("statusReason", ""), shift.get("rollback", {}).get("reason", "")]
    return list(dict.fromkeys(reason.rstrip(".") for reason in told if reason))


def _by(published: dict[str, Any], **strategy: Any) -> dict[str, Any]:
    """The published request with another strategy."""
    kept = {"minimumHealthyPercent", "maximumPercent", "deploymentCircuitBreaker", "alarms"}
    common = {name: value for name, value in published["deploymentConfiguration"].items() if name in kept}
    return published | {"deploymentConfiguration": common | strategy}
