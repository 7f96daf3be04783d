"""What README, CHANGELOG, galaxy.yml and the two ansible.cfg say is so, and no link of a document is dead."""

import configparser
import re
import tomllib
from pathlib import Path

import document
import pytest
import yaml

PATHS = ("collections_path", "inventory")


def settings(folder: Path) -> dict[str, str]:
    """The defaults of a folder's ansible.cfg, with its paths made absolute."""
    parser = configparser.ConfigParser()
    parser.read(folder / "ansible.cfg")
    found = dict(parser["defaults"])
    return found | {name: str((folder / found[name]).resolve()) for name in PATHS}


def test_ansible_runs_alike_from_the_root_and_from_playbooks(root: Path):
    assert settings(root) == settings(root / "playbooks")
    assert Path(settings(root)["inventory"]).is_file()
    assert (Path(settings(root)["collections_path"]) / "ansible_collections/nerforge/aws").resolve() == root


def test_the_readme_lists_every_playbook(root: Path):
    named = re.findall(r"^\| `(\w+\.yml)", (root / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (root / "playbooks").glob("*.yml"))


def test_the_readme_lists_every_variable_of_the_environment(root: Path):
    sources = [*(root / "playbooks").rglob("*.yml"), *(root / "tests/bench").glob("*.py")]
    # NERFORGE_BENCH_… is what run.py hands on to its parts.
    reads = re.compile(
        r"""(?:'ansible\.builtin\.env', '|environ\.get\("|environ\[")(NERFORGE_(?!BENCH_)\w+)"""
    )
    read = {name for path in sources for name in reads.findall(path.read_text())}
    assert {"NERFORGE_HOME", "NERFORGE_CORPORA"} <= read
    table = re.findall(r"^\| `(NERFORGE_\w+)`", (root / "README.md").read_text(), re.MULTILINE)
    assert set(table) == read


def test_the_changelog_names_every_module(root: Path):
    changes = (root / "CHANGELOG.md").read_text().replace("\\", "")
    modules = [path.stem for path in (root / "plugins/modules").glob("*.py")]
    assert [name for name in modules if f"\n* nerforge.aws.{name} - " not in changes] == [], (
        "run make changelog"
    )


def test_the_version_is_one(root: Path):
    collection = yaml.safe_load((root / "galaxy.yml").read_text())["version"]
    assert collection == tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    changes = (root / "CHANGELOG.md").read_text().replace("\\", "")
    assert re.search(r"^## v(\S+)$", changes, re.MULTILINE)[1] == collection


@pytest.mark.parametrize("path", document.DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    links = re.findall(r"\]\((?!https?://)([^)]+)\)", path.read_text())
    assert links
    for link in links:
        name, __, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def anchors(text: str) -> set[str]:
    """What GitHub lets one link to in a Markdown text: its headings, lower case, without punctuation."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
