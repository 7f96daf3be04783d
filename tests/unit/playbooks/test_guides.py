"""README, runbook and guides: every command is one that works, every setting is one that there is.

Cases: playbooks with their variables; make's targets; requests to the server; the AWS CLI; spaCy's own
commands; specs and settings in YAML; data in JSON. Of what a playbook takes, its first line says all.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import document
import pytest
import typer
import yaml
from botocore import xform_name
from nerforge_contract import corpus, spec
from nerforge_server import openapi
from spacy.cli import app
from support import documents, playbooks
from support.documents import Command

PLAIN = {"export", "alias", "docker", "tar"}  # programs of other people's, of which nothing here can be wrong
TEXTS = {path.name: path.read_text() for path in document.DOCUMENTS}
COMMANDS = [(name, command) for name, text in TEXTS.items() for command in documents.commands(text)]
GLOBAL_OPTIONS = {"--query", "--output", "--region", "--profile"}  # of the AWS CLI
KEPT_IN_THE_INVENTORY = {"nerforge_images", "nerforge_training_variables", "nerforge_serving_variables"}
# What the AWS CLI has besides the services' operations: https://docs.aws.amazon.com/cli/latest/reference/
CUSTOM = {
    ("ecr", "get-login-password"): set(),
    ("logs", "tail"): {"--since", "--filter-pattern", "--follow"},
    ("s3", "cp"): set(),
}


def of(*programs: str) -> list[Any]:
    """The commands of these programs, as parameters."""
    return [
        pytest.param(command, id=f"{name}: {command.line}")
        for name, command in COMMANDS
        if command.program in programs
    ]


def given(command: Command) -> dict[str, Any]:
    """What ``-e`` gives, by name."""
    found: dict[str, Any] = {}
    for value in command.options("-e"):
        found |= yaml.safe_load(value) if value.startswith("{") else dict([value.partition("=")[::2]])
    return found


def check_variables(root: Path, playbook: str, variables: dict[str, Any]) -> None:
    """That a playbook reads these variables, and that what is in them is known."""
    assert variables.keys() <= playbooks.own(root, playbook) | playbooks.declared(root)
    for stack in ("training", "serving"):
        inner = variables.get(f"nerforge_{stack}_variables", {})
        assert inner.keys() <= playbooks.stack_variables(root, stack)
    assert variables.get("changes", {}).keys() <= spec.schema()["properties"].keys()
    if str(variables.get("spec", "")).startswith("playbooks/"):
        assert (root / variables["spec"]).is_file()


def test_every_program_is_known():
    checked = {"ansible-playbook", "make", "curl", "aws", "python"}
    assert {command.program for __, command in COMMANDS} <= checked | PLAIN


@pytest.mark.parametrize("command", of("ansible-playbook"))
def test_a_playbook_is_there_and_reads_what_it_is_given(root: Path, command: Command):
    (playbook,) = (word for word in command.arguments if re.fullmatch(r"(?:playbooks/)?\w+\.yml", word))
    name = playbook.removeprefix("playbooks/")
    assert (root / "playbooks" / name).is_file()
    assert {word for word in command.arguments if word.startswith("-")} <= {"-i", "-e", "--check"}
    assert all((root / inventory).is_file() for inventory in command.options("-i"))
    check_variables(root, name, given(command))


@pytest.mark.parametrize("command", of("ansible-playbook"))
def test_no_command_drops_the_inventorys_settings(command: Command):
    # -e replaces a whole mapping, and the next deploy would not know of it.
    assert given(command).keys() & KEPT_IN_THE_INVENTORY == set()


@pytest.mark.parametrize("command", of("make"))
def test_make_has_the_target_and_the_settings(root: Path, command: Command):
    makefile = (root / "Makefile").read_text()
    for word in command.arguments:
        name, __, value = word.partition("=")
        if value:
            assert f"$({name})" in makefile or f"{name} ?=" in makefile
        else:
            assert re.search(rf"^(?:[\w-]+ )*{name}(?: [\w-]+)*:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", of("curl"))
def test_the_server_answers_there(command: Command):
    paths = openapi.document(with_keys=True)["paths"]
    (url,) = (word for word in command.arguments if re.fullmatch(r"\S*/\w+", word) and word[0] != "-")
    (path,) = (path for path in paths if path != "/" and url.endswith(path))
    assert ("post" if "-d" in command.arguments else "get") in paths[path]


@pytest.mark.parametrize("command", of("aws"))
def test_aws_has_the_operation_and_its_options(command: Command):
    service, operation, *arguments = command.arguments
    options = {word for word in arguments if word.startswith("--")} - GLOBAL_OPTIONS
    if (service, operation) in CUSTOM:
        assert options <= CUSTOM[service, operation]
        return
    model = botocore.session.get_session().get_service_model(service)
    (name,) = (name for name in model.operation_names if xform_name(name, "-") == operation)
    shape = model.operation_model(name).input_shape
    assert options <= {f"--{xform_name(member, '-')}" for member in shape.members}
    assert {f"--{xform_name(member, '-')}" for member in shape.required_members} <= options


@pytest.mark.parametrize("command", of("python"))
def test_a_module_of_pythons_is_called_as_it_wants(command: Command, tmp_path: Path, monkeypatch):
    if command.arguments[:2] != ("-m", "spacy"):
        assert command.arguments[:2] in {("-m", "pip"), ("-m", "zipfile"), ("machine.py", "nerforge")}
        return  # what is of ours in them is run by the tests of the guide on adapting
    monkeypatch.chdir(tmp_path)
    group, name, *arguments = command.arguments[2:]
    typer.main.get_command(app).commands[group].commands[name].make_context(name, list(arguments))


@pytest.mark.parametrize("name", TEXTS)
def test_yaml_is_a_spec_or_sets_what_there_is(root: Path, name: str):
    for block in documents.blocks(TEXTS[name], "yaml"):
        content = yaml.safe_load(block)
        if "data" in content:
            spec.validate(content)
        elif "scrape_configs" not in content:
            check_variables(root, "deploy.yml", content)


@pytest.mark.parametrize(
    "code", [code for text in TEXTS.values() for code in re.findall(r"`(\w+: \{[^`]*\})`", text)]
)
def test_fields_of_a_spec_named_in_the_text_are_there(code: str):
    ((field, inner),) = yaml.safe_load(code).items()
    assert inner.keys() <= spec.schema()["properties"][field]["properties"].keys()


def test_the_readme_lists_the_endings_of_data():
    rows = re.findall(r"^\| [^|]+ \| ((?:`\.\w+` ?)+)\|", TEXTS["README.md"], re.MULTILINE)
    formats = [
        {corpus.format_of(f"people{ending}") for ending in re.findall(r"`(\S+)`", row)} for row in rows
    ]
    assert formats == [{"conll"}, {"jsonl"}, {"spacy"}]


@pytest.mark.parametrize("name", TEXTS)
def test_json_is_data_that_can_be_read(name: str, tmp_path: Path):
    for block in documents.blocks(TEXTS[name], "json"):
        path = tmp_path / "data.jsonl"
        path.write_text(block)
        assert all(example.spans for example in corpus.read(path, "jsonl", name))


def test_what_the_guide_to_gpus_quotes_is_said(root: Path):
    sources = [*(root / "terraform/training/dispatcher").glob("*.py"), *(root / "containers").rglob("*.py")]
    sources += (root / "plugins/plugin_utils").glob("*.py")
    code = "".join(path.read_text() for path in sources).replace("{kind}", "GPU")
    quoted = re.findall(r"^\| .*?\*([^*]+)\*", TEXTS["gpu.md"], re.MULTILINE)
    assert len(quoted) >= 4
    assert [words for words in quoted if words not in code] == []


# --- what a playbook takes ---


def playbook_names() -> list[str]:
    """All playbooks."""
    return sorted(path.name for path in (document.ROOT / "playbooks").glob("*.yml"))


@pytest.mark.parametrize("name", playbook_names())
def test_a_playbooks_first_line_names_all_its_variables(root: Path, name: str):
    first = (root / "playbooks" / name).read_text().splitlines()[1]
    named = set(re.findall(r"-e (?:'\{\")?(\w+)", first)) - playbooks.declared(root)
    assert named == playbooks.own(root, name)


@pytest.mark.parametrize(
    ("playbook", "row"), re.findall(r"^\| `(\w+\.yml)(.*) \|$", TEXTS["README.md"], re.MULTILINE)
)
def test_the_readme_names_variables_that_a_playbook_reads(root: Path, playbook: str, row: str):
    for code in re.findall(r"-e ((?:'[^']*'|\"[^\"]*\"|[^`\s])+)", row):
        (command,) = documents.commands(f"`{playbook} -e {code}`")
        check_variables(root, playbook, given(command))


def test_the_readme_lists_the_servers_requests():
    table = TEXTS["README.md"].split("\n| request | answer |\n")[1].split("\n\n")[0]
    requests = "".join(re.findall(r"^\| (.*?) \| ", table, re.MULTILINE))
    paths = openapi.document(with_keys=True)["paths"]
    assert set(re.findall(r"`([A-Z]+) (/[\w.]*)`", requests)) == {
        (method.upper(), path) for path, operations in paths.items() for method in operations
    }
    bodies = paths["/ner"]["post"]["requestBody"]["content"]
    assert set(re.findall(r"`(\w+/[\w-]+)`", requests)) == bodies.keys()


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (test_a_playbook_is_there_and_reads_what_it_is_given, "play playbooks/trian.yml -e spec=x.yml"),
        (test_a_playbook_is_there_and_reads_what_it_is_given, "play playbooks/train.yml -e specs=x.yml"),
        (
            test_a_playbook_is_there_and_reads_what_it_is_given,
            "play playbooks/train.yml --chek -e spec=x.yml",
        ),
        (
            test_a_playbook_is_there_and_reads_what_it_is_given,
            "play playbooks/retry.yml -e '{changes: {gpus: 1}}'",
        ),
        (test_make_has_the_target_and_the_settings, "make demoo"),
        (test_make_has_the_target_and_the_settings, "make rolls ROLS=3"),
        (test_the_server_answers_there, "curl -d Titan http://127.0.0.1:8080/nre"),
        (test_aws_has_the_operation_and_its_options, "aws ssm get-parameter --key x"),
        (test_aws_has_the_operation_and_its_options, "aws ssm fetch-parameter --name x"),
    ],
)
def test_a_wrong_command_is_found(root: Path, check: Callable[..., None], line: str):
    text = f"```console\nalias play='ansible-playbook -i playbooks/inventory/aws.yml'\n{line} # why\n```\n"
    *__, command = documents.commands(text)
    arguments = {"root": root, "command": command}
    with pytest.raises((AssertionError, ValueError)):
        check(**{name: arguments[name] for name in inspect.signature(check).parameters})


def test_commands_are_read_as_a_shell_reads_them():
    text = (
        "```console\n$ a=1 play x.yml \\\n  -e b='c d' | tee e\nalias play='p -i y'\n```\nand `make\nsetup`\n"
        "```text\n$ e \\\n  f\nwhat it prints\n```\n"
    )
    found = [(command.program, *command.arguments) for command in documents.commands(text)]
    assert found == [
        ("p", "-i", "y", "x.yml", "-e", "b=c d"),
        ("tee", "e"),
        ("alias", "play=p -i y"),
        ("e", "f"),
        ("make", "setup"),
    ]


def test_output_in_the_readme_is_that_of_the_server():
    text, entities = documents.exchange(TEXTS["README.md"])
    schema = openapi.document(with_keys=False)["components"]["schemas"]["Entity"]
    assert all(entity.keys() == schema["properties"].keys() for entity in entities)
    assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in entities)
