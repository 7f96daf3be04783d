"""The real Terraform, on a stack that needs no provider."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import terraform

Run = Callable[..., terraform.Ended]


@pytest.fixture(scope="session")
def binary(root: Path) -> str:
    """Terraform, of the PATH or as the role stack installs it."""
    found = shutil.which("terraform", path=f"{os.environ['PATH']}:{root / '.nerforge' / 'bin'}")
    assert found, (
        "Terraform is neither on the PATH nor in .nerforge/bin: run the deploy playbook, which fetches it"
    )
    return found


@pytest.fixture
def run(binary: str, tmp_path: Path) -> Run:
    """Runs a command of terraform_stack's on a copy of main.tf; init has been run."""
    shutil.copy(Path(__file__).parent / "main.tf", tmp_path)
    env = terraform.environment(os.environ, {}, str(tmp_path / "data"), None)

    def run(arguments: list[str], on_event=lambda event: None) -> terraform.Ended:
        return terraform.run([binary, *arguments], str(tmp_path), env, on_event)

    assert run(terraform.init_arguments(None, has_lock_file=False)).exit_code == 0
    return run


def arguments(tmp_path: Path, word: str, state: str = "present", check: bool = False) -> list[str]:
    variables = tmp_path / "variables.tfvars.json"
    variables.write_text(json.dumps({"word": word}))
    return terraform.run_arguments(state, check, str(variables), [])


def test_make_keep_and_destroy(run: Run, tmp_path: Path):
    planned = run(arguments(tmp_path, "one", check=True))
    assert terraform.result(planned.events, check=True)["changed"]
    assert not (tmp_path / "terraform.tfstate").exists()

    made = terraform.result(run(arguments(tmp_path, "one")).events, check=False)
    assert (made["changed"], made["added"], made["outputs"]) == (True, 2, {"word": "one"})

    kept = run(arguments(tmp_path, "one"))
    assert kept.exit_code == 0
    assert not terraform.result(kept.events, check=False)["changed"]

    gone = terraform.result(run(arguments(tmp_path, "one", state="absent")).events, check=False)
    assert gone["destroyed"] == 2
    again = terraform.result(run(arguments(tmp_path, "one", state="absent")).events, check=False)
    assert not again["changed"]


def test_events_come_while_terraform_runs(run: Run, tmp_path: Path):
    locked = []

    def look(event: terraform.Event) -> None:
        if event["type"] == "provision_start":
            locked.append((tmp_path / ".terraform.tfstate.lock.info").exists())

    assert run(arguments(tmp_path, "slow"), look).exit_code == 0
    assert locked == [True]


def test_a_failure_is_explained(run: Run, tmp_path: Path):
    ended = run(arguments(tmp_path, "broken"))
    assert ended.exit_code == 1
    assert "terraform_data.broken[0]: local-exec provisioner error" in terraform.failure(ended, "apply")


def test_a_locked_state_is_explained(run: Run, tmp_path: Path):
    told = []

    def apply_beside(event: terraform.Event) -> None:
        if event["type"] == "provision_start":
            # A plan of its own that asks for the lock, where check mode would not.
            beside = run([a for a in arguments(tmp_path, "two", check=True) if a != "-lock=false"])
            told.append(terraform.failure(beside, "plan", "unlock"))

    run(arguments(tmp_path, "slow"), apply_beside)
    assert "The state is locked by" in told[0]


def test_an_interrupt_lets_terraform_save_its_state(run: Run, tmp_path: Path):
    def interrupt(event: terraform.Event) -> None:
        if event["type"] == "provision_start":
            for number in (signal.SIGINT, signal.SIGTERM):  # only the first is passed on
                os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGINT)
    ended = run(arguments(tmp_path, "slow"), interrupt)
    assert ended.exit_code == 1
    assert any("Interrupt received" in event["@message"] for event in ended.events)
    assert not any("Two interrupts" in event["@message"] for event in ended.events)
    assert json.loads((tmp_path / "terraform.tfstate").read_text())["resources"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_missing_binary_is_a_users_error(tmp_path: Path):
    with pytest.raises(UserError, match="/nowhere/terraform: cannot be run"):
        terraform.run(["/nowhere/terraform"], str(tmp_path), {}, lambda event: None)
