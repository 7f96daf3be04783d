"""Terraform for the tests of the stacks, with the binary and the providers that the role stack would find."""

import functools
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nerforge.aws.plugins.plugin_utils import terraform
from support import aws_model
from support.terraform import states_of_runs


@pytest.fixture(scope="session", autouse=True)
def terraform_environment(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """PATH reaches a Terraform that was fetched, and TF_CLI_CONFIG_FILE a mirror in a usual place."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PATH", f"{os.environ['PATH']}:{root / '.nerforge' / 'bin'}")
    patch.setenv("TF_IN_AUTOMATION", "1")
    patch.setenv("CHECKPOINT_DISABLE", "1")
    if not Path(os.environ.get("TF_CLI_CONFIG_FILE", "")).is_file():
        patch.delenv("TF_CLI_CONFIG_FILE", raising=False)
        defaults = yaml.safe_load((root / "roles/stack/defaults/main.yml").read_text())
        providers = terraform.locked_providers((root / "terraform/serving/.terraform.lock.hcl").read_text())
        here = terraform.platform_name(platform.system(), platform.machine())
        mirror = terraform.find_mirror(defaults["stack_usual_provider_mirrors"], providers, here)
        if mirror:
            config = tmp_path_factory.mktemp("terraform") / "mirror.tfrc"
            config.write_text(terraform.mirror_config(mirror, providers))
            patch.setenv("TF_CLI_CONFIG_FILE", str(config))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def terraform_in(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Callable[..., str]]:
    """For a stack's name, a function that runs Terraform in a copy of the stack and gives what it printed.

    All tests share the copy. Its folder tests holds tests/terraform/<stack>: Terraform takes no tests from
    outside a stack.
    """

    @functools.cache
    def prepare(stack: str) -> Callable[..., str]:
        folder = tmp_path_factory.mktemp("terraform") / stack
        tests = root / "tests" / "terraform" / stack
        shutil.copytree(root / "terraform" / stack, folder, ignore=shutil.ignore_patterns(".terraform"))
        shutil.copytree(tests, folder / "tests", ignore=shutil.ignore_patterns("*.py", "__pycache__"))

        def run(*arguments: str) -> str:
            command = ["terraform", *arguments, "-no-color"]
            ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            return ended.stdout

        run("init", "-backend=false", "-lockfile=readonly", "-input=false")
        return run

    return prepare


@pytest.fixture(scope="session")
def made() -> Callable[[Callable[..., str]], dict[str, Any]]:
    """For a stack's Terraform, the attributes of all that tests/shapes.tftest.hcl makes, by address."""

    def read(terraform: Callable[..., str]) -> dict[str, Any]:
        printed = terraform("test", "-json", "-verbose", "-filter=tests/shapes.tftest.hcl")
        (state,) = states_of_runs(printed).values()
        return {item["address"]: item["values"] for item in state["root_module"]["resources"]}

    return read


@pytest.fixture(scope="session")
def check_task_definition() -> Callable[[dict[str, Any]], None]:
    """Checks a task definition as Terraform has it against ECS's model: to the provider most is text."""

    def check(found: dict[str, Any]) -> None:
        request = {
            "family": found["family"],
            "networkMode": found["network_mode"],
            "requiresCompatibilities": found["requires_compatibilities"],
            "taskRoleArn": found["task_role_arn"],
            "executionRoleArn": found["execution_role_arn"],
            "containerDefinitions": json.loads(found["container_definitions"]),
            "volumes": [{"name": volume["name"]} for volume in found["volume"]],
        }
        aws_model.check_unsent("ecs", "RegisterTaskDefinition", request)

    return check
