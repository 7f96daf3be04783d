"""What a stack's ``variables.tf`` declares, read as far as tests and documents need it."""

import re
from dataclasses import dataclass
from pathlib import Path

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


def variables(stack: Path) -> list[Variable]:
    """The variables that the stack in this folder declares, in their order."""
    return [
        Variable(
            name,
            _DESCRIPTION.search(body)[1].replace('\\"', '"'),
            " ".join(default[1].split()) if (default := _DEFAULT.search(body)) else None,
        )
        for name, body in _BLOCK.findall((stack / "variables.tf").read_text())
    ]
