"""What README, CHANGELOG, galaxy.yml and the two ansible.cfg say is so."""

import configparser
import re
import tomllib
from pathlib import Path

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
    reads = re.compile(r"""(?:'ansible\.builtin\.env', '|environ\.get\("|environ\[")(NERFORGE_\w+)""")
    read = {name for path in sources for name in reads.findall(path.read_text())}
    assert {"NERFORGE_HOME", "NERFORGE_CORPORA"} <= read
    table = re.findall(r"^\| `(NERFORGE_\w+)`", (root / "README.md").read_text(), re.MULTILINE)
    assert set(table) == read


def test_the_readme_lists_every_exit_code_of_the_contract(root: Path):
    contract = (root / "plugins/module_utils/contract/states.py").read_text()
    codes = re.findall(r"^EXIT_\w+ = (\d+)", contract, re.MULTILINE)
    assert sorted(re.findall(r"^\| (\d+) \|", (root / "README.md").read_text(), re.MULTILINE)) == sorted(
        codes
    )


def test_the_changelog_names_every_module(root: Path):
    changes = (root / "CHANGELOG.md").read_text()
    assert all(f"`{path.stem}`" in changes for path in (root / "plugins/modules").glob("*.py"))


def test_the_version_is_one(root: Path):
    collection = yaml.safe_load((root / "galaxy.yml").read_text())["version"]
    assert collection == tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r"^## (\S+?),? ", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == collection


def test_the_readme_links_to_what_is_there(root: Path):
    links = re.findall(r"\]\(([^)#:]+)\)", (root / "README.md").read_text())
    assert links
    assert [link for link in links if not (root / link).exists()] == []
