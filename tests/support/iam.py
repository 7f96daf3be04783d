"""IAM's decision on a request, as far as the stacks' policies go.

Source: the IAM User Guide's "Policy evaluation logic" and "IAM JSON policy elements". What no policy here
uses, such as NotAction, is refused rather than misread.
"""

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}
_EVERY = "ForAllValues:"


@dataclass(frozen=True)
class Request:
    """What IAM is asked: one action on one resource.

    Parameters
    ----------
    action:
        ``service:Action``, as the Service Authorization Reference names it.
    resource:
        The resource's ARN; ``*`` for an action that knows none.
    context:
        The condition keys that AWS fills in, each with its values.
    """

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


@dataclass(frozen=True)
class Grant:
    """One action on one resource that a policy allows, and on what condition."""

    action: str
    resource: str
    condition: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    def allows(self, request: Request) -> bool:
        """Whether the request is one of those that are meant."""
        return (
            fnmatch.fnmatchcase(request.action.lower(), self.action.lower())
            and _like(request.resource, self.resource)
            and all(
                _holds(operator, wanted, request.context.get(key, ()))
                for operator, keys in self.condition.items()
                for key, wanted in keys.items()
            )
        )

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def grants(policies: Iterable[Policy]) -> list[Grant]:
    """All that these policies allow, an action and a resource each."""
    found = []
    for policy in policies:
        for statement in policy["Statement"]:
            others = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
            if others or statement["Effect"] != "Allow":
                raise ValueError(f"a statement of another kind than those known here: {statement}")
            found += [
                Grant(action, resource, statement.get("Condition", {}))
                for action in _several(statement["Action"])
                for resource in _several(statement["Resource"])
            ]
    return found


def denied(granted: Iterable[Grant], requests: Iterable[Request]) -> list[Request]:
    """The requests that no grant allows: what IAM does not allow it denies."""
    granted = list(granted)
    return [request for request in requests if not any(grant.allows(request) for grant in granted)]


def unused(granted: Iterable[Grant], requests: Iterable[Request]) -> list[Grant]:
    """The grants that no request needs."""
    requests = list(requests)
    return [grant for grant in granted if not any(grant.allows(request) for request in requests)]


def _holds(operator: str, wanted: Any, values: tuple[str, ...]) -> bool:
    every = operator.startswith(_EVERY)
    compare = _OPERATORS[operator.removeprefix(_EVERY)]
    if not every and len(values) != 1:  # a key that is not there meets no condition
        return False
    return all(any(compare(value, one) for one in _several(wanted)) for value in values)


def _several(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
