"""Writes the tables that documents take from the code: ``make docs``. A unit test fails where they differ.

A table stands between ``<!-- states -->`` and ``<!-- /states -->``; whatever else stands there is replaced.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where support is

from support import paths, terraform

paths.put()

from ansible_collections.nerforge.aws.plugins.plugin_utils import stack_variables as values  # noqa: E402
from ansible_collections.nerforge.aws.plugins.plugin_utils import upkeep  # noqa: E402
from nerforge_contract import causes, prices, spec, states  # noqa: E402
from nerforge_server import openapi  # noqa: E402

ROOT = paths.ROOT
GUIDES = tuple(sorted((ROOT / "playbooks" / "guides").glob("*.md")))
README = ROOT / "README.md"
DOCUMENTS = (README, ROOT / "playbooks" / "RUNBOOK.md", *GUIDES)
ROLES = ("images", "local_aws")  # those whose variables a user may set; playbooks set the others'

# Fields, settings and commands in the code's plain sentences; what is set as code already stays as it is.
_CODE = re.compile(
    r"`[^`]*`|[\w/]+\.md|\{\"[^}]*\}"
    r"|\b(?:\w+\.yml(?: -e \w+=\w+)?|resources\.\w+|[a-z]+(?:_[a-z]+)+)\b"
    r"|\b(?:[A-Z]+(?:_[A-Z]+)+|(?!HTTPS)[A-Z]{5,})\b"
)
_FORMS = {"object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false"}
_LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}


def table(header: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, in which what one types or greps for is set as code."""
    lines = (header, ("---",) * len(header), *rows)
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    coded = _CODE.sub(lambda found: f"`{found[0].strip('`')}`", text or "nothing")
    return coded.replace("|", "\\|")


def spec_fields() -> Iterator[tuple[str, ...]]:
    """Each field that a spec may have: its name, what it takes, its default, what it means."""
    yield from _fields(spec.schema())


def _fields(part: dict[str, Any], path: str = "") -> Iterator[tuple[str, ...]]:
    for field, about in part["properties"].items():
        if "$ref" in about:
            about = spec.schema()["$defs"][about["$ref"].rpartition("/")[2]] | about
        needed = field in part.get("required", ())
        default = _default(about, "none: needed" if needed else "none")
        yield f"`{path}{field}`", _takes(about), default, about["description"]
        if path == "data." and field != "train":  # each part takes what train takes
            continue
        for form in (about, *about.get("oneOf", ())):
            if "properties" in form:
                yield from _fields(form, f"{path}{field}.")


def _default(about: dict[str, Any], none: str) -> str:
    """The default of a field or an option, or what stands in its place."""
    return f"`{json.dumps(about['default'])}`" if "default" in about else none


def _takes(about: dict[str, Any]) -> str:
    """What a field takes, in words."""
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    forms = [form["type"] for form in about.get("oneOf", (about,))]
    limits = "".join(f" {words} {about[limit]}" for limit, words in _LIMITS.items() if limit in about)
    return " or ".join(_FORMS.get(form, form) for form in dict.fromkeys(forms)) + limits


def stack_variables(stack: str) -> Iterator[tuple[str, ...]]:
    """Each variable of a Terraform stack: its name, its default, what it means."""
    for variable in terraform.variables(ROOT / "terraform" / stack):
        default = "none: `deploy.yml` gives it" if variable.default is None else f"`{variable.default}`"
        yield f"`{variable.name}`", default, variable.description


def role_variables() -> Iterator[tuple[str, ...]]:
    """Each variable of the roles that a user may set: its name, its default, what it means."""
    for role in ROLES:
        specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
        for name, option in specs["argument_specs"]["main"]["options"].items():
            if not name.startswith(role):
                continue
            words = option["description"]
            words = " ".join(words) if isinstance(words, list) else words
            yield f"`{name}`", _default(option, "none"), re.sub(r"\b[CEOV]\(([^)]*)\)", r"`\1`", words)


def environment_variables() -> Iterator[tuple[str, ...]]:
    """Each variable that a container is told things by: its name, whose it is, what it means."""
    source = (ROOT / "plugins" / "module_utils" / "contract" / "names.py").read_text()
    for name, who, meaning in re.findall(r'^ENV_\w+ = "(\w+)"  # ([a-z, ]+): (.+)$', source, re.MULTILINE):
        yield f"`{name}`", who, meaning


def idle_costs() -> Iterator[tuple[str, ...]]:
    """What a deployment costs while nothing trains, in USD a month: when, what for, how much."""
    stacks = [values.of_stack(ROOT / "terraform" / stack, {}) for stack in ("training", "serving")]
    found = upkeep.bill(*stacks, prices.bundled())
    for when in (upkeep.ALWAYS, upkeep.SERVED):
        those = [line for line in found if line.when == when]
        yield from ((when, line.what, f"{line.usd:.2f}") for line in those)
        yield when, "in all", f"{sum(line.usd for line in those):.2f}"


def network_costs() -> Iterator[tuple[str, ...]]:
    """What each way from the instances to the AWS APIs costs while nothing runs, in USD a month."""
    for choice in ("public", "endpoints", "nat"):
        yield f"`network: {choice}`", f"{upkeep.network(choice, prices.bundled()):.2f}"


def statuses() -> Iterator[tuple[str, ...]]:
    """Each HTTP status that the server answers an error with: what it means, and the fix it names."""
    for status, response in openapi.document(with_keys=True)["components"]["responses"].items():
        (content,) = response["content"].values()
        example = content["examples"]["problem"]["value"]
        yield status, response["description"], example.get("fix", "what the answer says")


TABLES = {
    "states": table(("state", "what it means"), states.MEANINGS.items()),
    "transitions": table(("from", "to", "by", "when"), states.TRANSITIONS),
    "causes": table(
        ("cause", "what has happened", "what becomes of the run", "what you can do"),
        ((code, *cause) for code, cause in causes.CAUSES.items()),
    ),
    "exit codes": table(
        ("exit code", "what it means", "what becomes of the run"),
        (
            *((str(code), *meaning) for code, meaning in sorted(states.EXIT_CODES.items())),
            ("any other", *states.OTHER_EXIT_CODE),
        ),
    ),
    "spec fields": table(("field", "takes", "default", "what it means"), spec_fields()),
    "training variables": table(("variable", "default", "what it means"), stack_variables("training")),
    "serving variables": table(("variable", "default", "what it means"), stack_variables("serving")),
    "role variables": table(("variable", "default", "what it means"), role_variables()),
    "environment variables": table(("variable", "of", "what it means"), environment_variables()),
    "idle costs": table(("when", "what", "USD a month"), idle_costs()),
    "network costs": table(("in `nerforge_training_variables`", "USD a month"), network_costs()),
    "statuses": table(("status", "what it means", "what to do"), statuses()),
}


def filled(text: str) -> str:
    """A document's text with each table as the code has it now. Raises KeyError for an unknown table."""
    return re.sub(
        r"(<!-- (?P<name>[a-z ]+) -->\n).*?(<!-- /(?P=name) -->)",
        lambda block: f"{block[1]}\n{TABLES[block['name']]}\n\n{block[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for document in DOCUMENTS:
        before = document.read_text()
        if before != filled(before):
            document.write_text(filled(before))
            print(f"written anew: {document.relative_to(ROOT)}")
