"""Which variables a playbook reads, and which the inventory, the roles and the stacks declare."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.nodes
import yaml

from . import terraform

_BARE = frozenset({"when", "that", "failed_when", "changed_when", "until"})  # expressions without braces
# What Ansible itself gives, and what roles leave as facts, which begin with their names.
_GIVEN = re.compile(r"(?:ansible|images|local_aws|stack)_\w+|playbook_dir|item|omit|_raw_params|lookup")


@functools.cache
def declared(root: Path) -> frozenset[str]:
    """What an inventory may set for all playbooks: what both inventories, group_vars and the roles name."""
    names: set[str] = set()
    for inventory in (root / "playbooks" / "inventory").glob("*.yml"):
        names |= yaml.safe_load(inventory.read_text())["all"]["hosts"]["localhost"].keys()
    names |= yaml.safe_load((root / "playbooks" / "group_vars" / "all.yml").read_text()).keys()
    for specs in (root / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(specs.read_text())["argument_specs"].values():
            names |= entry["options"].keys()
    return frozenset(names)


@functools.cache
def stack_variables(root: Path, stack: str) -> frozenset[str]:
    """The variables of a stack."""
    return frozenset(variable.name for variable in terraform.variables(root / "terraform" / stack))


@functools.cache
def own(root: Path, playbook: str) -> frozenset[str]:
    """The variables that a playbook reads and nothing else gives: those for ``-e``."""
    plays = yaml.safe_load((root / "playbooks" / playbook).read_text())
    read, given = set(), set()
    for key, text in _strings(plays):
        given |= {text} if key == "register" else set()
        source = f"{{{{ {text} }}}}" if key in _BARE else text
        names = list(jinja2.Environment().parse(source).find_all(jinja2.nodes.Name))
        read |= {name.name for name in names} - {name.name for name in names if name.ctx == "store"}
    for play in plays:
        given |= play.get("vars", {}).keys()
        for task in _tasks(play):
            given |= task.get("vars", {}).keys() | task.get("ansible.builtin.set_fact", {}).keys()
    return frozenset(name for name in read - given - declared(root) if not _GIVEN.fullmatch(name))


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a playbook, with the key that it, or the list it stands in, belongs to."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
    elif isinstance(value, str):
        yield key, value


def _tasks(play: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for task in [*play.get("tasks", []), *play.get("block", [])]:
        yield task
        yield from _tasks(task)
