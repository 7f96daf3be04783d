"""The runbook: a section for each alarm, commands and settings that exist, tables as the code has them."""

import re
from pathlib import Path

import document
import pytest
from nerforge_contract import names, states
from support import playbooks


@pytest.fixture(scope="module")
def runbook(root: Path) -> str:
    """Its text."""
    return (root / "playbooks" / "RUNBOOK.md").read_text()


@pytest.fixture(scope="module")
def alarms(root: Path) -> set[str]:
    """Every alarm of both stacks, without the prefix."""
    training = (root / "terraform/training/alarms.tf").read_text()
    table = re.search(r"^  training_alarms = \{\n(.*?)^  \}", training, re.DOTALL | re.MULTILINE)[1]
    serving = (root / "terraform/serving/alarms.tf").read_text()
    names = {
        *re.findall(r"^    ([a-z-]+) = \{", table, re.MULTILINE),
        *(f"server-{name}" for name in re.findall(r'alarm_name += "\$\{local\.name\}-([a-z-]+)"', serving)),
    }
    resources = re.findall(r'resource "aws_cloudwatch_metric_alarm"', training + serving)
    assert len(names) == table.count("metric ") + len(resources) - 1  # one resource makes the whole table
    return names


def test_each_alarm_has_a_section_and_each_section_an_alarm(runbook: str, alarms: set[str]):
    part = runbook.split("\n## Alarms\n")[1].split("\n## ")[0]
    sections = re.findall(r"^### `([a-z-]+)`$", part, re.MULTILINE)
    assert sorted(sections) == sorted(alarms)
    for section in part.split("\n### ")[1:]:
        bold = re.findall(r"\*\*(\w+)(?::\*\*|\*\*)", section)
        assert [word.lower() for word in bold] == ["means", "look", "do"], section.split("\n")[0]


def test_each_alarm_is_in_the_overview(runbook: str, alarms: set[str]):
    overview = re.findall(r"^\| \[`([a-z-]+)`\]\(#\1\) \|", runbook, re.MULTILINE)
    assert sorted(overview) == sorted(alarms)


def test_commands_name_playbooks_that_exist(root: Path, runbook: str):
    named = {name if "/" in name else f"playbooks/{name}" for name in re.findall(r"[\w/]+\.yml", runbook)}
    assert {"playbooks/doctor.yml", "playbooks/retry.yml"} <= named
    assert sorted(name for name in named if not (root / name).is_file()) == []


def test_settings_are_variables_of_the_stacks(root: Path, runbook: str):
    stacks = ("training", "serving")
    declared = {f"nerforge_{stack}_variables" for stack in stacks}.union(
        *(playbooks.stack_variables(root, stack) for stack in stacks)
    )
    part = runbook.split("\n## Alarms\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", part))
    assert "max_concurrent_runs" in named
    assert named <= declared


@pytest.mark.parametrize("path", document.DOCUMENTS, ids=lambda path: path.name)
def test_tables_are_the_codes(path: Path):
    text = path.read_text()
    assert document.filled(text) == text, "run make docs"


def test_every_table_stands_in_a_document():
    text = "".join(path.read_text() for path in document.DOCUMENTS)
    assert [name for name, table in document.TABLES.items() if f"\n{table}\n" not in text] == []


def test_every_environment_variable_is_in_the_table():
    known = {value for name, value in vars(names).items() if name.startswith("ENV_")}
    assert {row[0].strip("`") for row in document.environment_variables()} == known


def test_every_exit_code_has_a_meaning():
    codes = {code for name, code in vars(states).items() if re.fullmatch(r"EXIT_(?!CODES)\w+", name)}
    assert len(codes) >= 4
    assert states.EXIT_CODES.keys() == codes - {states.EXIT_ERROR}  # which is one of the others


def test_a_table_is_replaced_and_an_unknown_one_refused():
    filled = document.filled("before\n<!-- states -->\noutdated\n<!-- /states -->\nafter\n")
    assert filled.startswith("before\n<!-- states -->\n\n| state | ")
    assert filled.endswith(" |\n\n<!-- /states -->\nafter\n")
    assert "outdated" not in filled
    assert document.filled(filled) == filled
    with pytest.raises(KeyError, match="weather"):
        document.filled("<!-- weather -->\n<!-- /weather -->")
