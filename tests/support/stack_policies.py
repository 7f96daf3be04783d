"""The policies that a stack would make, as Terraform renders them against a mocked provider."""

import json
from collections.abc import Callable
from typing import Any

from support.iam import Policy

# By the role's name; then by the policy's.
Policies = dict[str, dict[str, Policy]]


def rendered(terraform: Callable[..., str]) -> dict[str, Policies]:
    """The policies of each run in the stack's ``permissions/policies.tftest.hcl``, by the run's name.

    Parameters
    ----------
    terraform:
        Runs Terraform in a folder of the stack, its tests in the folder ``tests``; returns what it printed.
    """
    told = map(
        json.loads, terraform("test", "-json", "-verbose", "-test-directory=tests/permissions").splitlines()
    )
    return {line["@testrun"]: _policies(line["test_state"]) for line in told if line["type"] == "test_state"}


def _policies(state: dict[str, Any]) -> Policies:
    values: dict[str, list[dict[str, Any]]] = {}
    for resource in state["root_module"]["resources"]:
        values.setdefault(resource["type"], []).append(resource["values"])
    names = {role[key]: role["name"] for role in values["aws_iam_role"] for key in ("id", "name")}
    found: Policies = {}
    for policy in values["aws_iam_role_policy"]:
        found.setdefault(names[policy["role"]], {})[policy["name"]] = json.loads(policy["policy"])
    return found
