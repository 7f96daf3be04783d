"""The policies that a stack makes, as Terraform renders them."""

import json
from typing import Any

from support.iam import Policy
from support.terraform import State

# By the role's name; then by the policy's.
Policies = dict[str, dict[str, Policy]]


def policies_in(state: State) -> Policies:
    """The policies of the roles in a state."""
    values: dict[str, list[dict[str, Any]]] = {}
    for resource in state["root_module"]["resources"]:
        values.setdefault(resource["type"], []).append(resource["values"])
    names = {role[key]: role["name"] for role in values["aws_iam_role"] for key in ("id", "name")}
    found: Policies = {}
    for policy in values["aws_iam_role_policy"]:
        found.setdefault(names[policy["role"]], {})[policy["name"]] = json.loads(policy["policy"])
    return found
