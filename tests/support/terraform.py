"""What a stack's ``variables.tf`` declares, and what its tests make."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.DOTALL | re.MULTILINE)
_DESCRIPTION = re.compile(r'^  description = "((?:[^"\\]|\\.)*)"', re.MULTILINE)
# A value of one line, or one that ends with the bracket that closes it.
_DEFAULT = re.compile(r"^  default +?= ((?:\{|\[)\n.*?^  [}\]]|[^\n]+)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Variable:
    """A variable of a stack; ``default`` is as Terraform writes it, None where there is none."""

    name: str
    description: str
    default: str | None


State = dict[str, Any]  # as ``terraform show -json`` has a state's values


def states_of_runs(printed: str) -> dict[str, State]:
    """What each run has made, by its name, of what ``terraform test -json -verbose`` has printed."""
    messages = map(json.loads, printed.splitlines())
    return {
        message["@testrun"]: message["test_state"] for message in messages if message["type"] == "test_state"
    }


def variables(stack: Path) -> list[Variable]:
    """The variables that the stack in this folder declares, in their order."""
    return [_variable(*block) for block in _BLOCK.findall((stack / "variables.tf").read_text())]


def _variable(name: str, body: str) -> Variable:
    description, default = _DESCRIPTION.search(body), _DEFAULT.search(body)
    assert description, f"the variable {name} has no description"
    return Variable(
        name,
        description[1].replace('\\"', '"'),
        " ".join(default[1].split()) if default else None,
    )
