"""The serving stack: Terraform's own checks and tests, and what it must share with the rest of the project."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from nerforge_contract import names


@pytest.fixture(scope="module")
def terraform(root: Path, tmp_path_factory: pytest.TempPathFactory):
    """Runs Terraform in a copy of the stack whose tests folder is this one: it takes no tests from outside."""
    stack = tmp_path_factory.mktemp("terraform") / "serving"
    shutil.copytree(root / "terraform" / "serving", stack, ignore=shutil.ignore_patterns(".terraform"))
    shutil.copytree(Path(__file__).parent, stack / "tests", ignore=shutil.ignore_patterns("*.py", "__pycache__"))

    def run(*arguments: str) -> str:
        ended = subprocess.run(
            ["terraform", *arguments, "-no-color"],
            cwd=stack,
            env={**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    run("init", "-backend=false", "-lockfile=readonly", "-input=false")
    return run


def test_it_is_valid(terraform):
    terraform("validate")


def test_it_makes_what_it_should(terraform):
    assert "0 failed" in terraform("test")


def test_both_stacks_use_the_same_terraform_and_provider(root: Path):
    for name in (".terraform.lock.hcl", "versions.tf"):
        training, serving = (
            (root / "terraform" / stack / name).read_text().split('provider "aws"')[0]
            for stack in ("training", "serving")
        )
        assert training == serving, name


def test_it_publishes_what_the_contract_names(root: Path):
    text = (root / "terraform" / "serving" / "parameters.tf").read_text()
    block = re.search(r"parameters = \{\n(.*?)\n  \}", text, re.DOTALL)[1]
    assert tuple(re.findall(r"^ {4}(\w+)\s+=", block, re.MULTILINE)) == names.SERVING_PARAMETERS


def test_it_reads_only_what_the_contract_names(root: Path):
    texts = [path.read_text() for path in (root / "terraform" / "serving").glob("*.tf")]
    read = {name for text in texts for name in re.findall(r"local\.training\.(\w+)", text)}
    assert read <= set(names.TRAINING_PARAMETERS)


def test_the_container_is_the_contracts(root: Path):
    text = (root / "terraform" / "serving" / "task.tf").read_text()
    assert f"server_port = {names.SERVER_PORT}" in text
    assert f'name      = "{names.SERVER_CONTAINER}"' in text
    assert names.PREFIX_PATTERN in (root / "terraform" / "serving" / "variables.tf").read_text()
