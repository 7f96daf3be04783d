"""The environment that the task definition and the dispatcher give."""

import pytest
from nerforge_contract import states
from nerforge_contract.errors import UserError
from nerforge_trainer import __main__ as trainer
from nerforge_trainer.interruption import Interruption
from nerforge_trainer.settings import Settings

ENVIRONMENT = {
    "NERFORGE_RUN": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "NERFORGE_ATTEMPT": "2",
    "NERFORGE_BUCKET": "bucket",
    "NERFORGE_RUNS_TABLE": "runs",
    "NERFORGE_MODELS_TABLE": "models",
    "NERFORGE_IMAGE": "trainer:1",
}


def test_settings():
    assert Settings.from_environment(ENVIRONMENT) == Settings(
        "01ARZ3NDEKTSV4RRFFQ69G5FAV", 2, "bucket", "runs", "models", "trainer:1"
    )


@pytest.mark.parametrize("name", sorted(ENVIRONMENT.keys() - {"NERFORGE_IMAGE"}))
def test_each_that_is_missing_is_named(name):
    with pytest.raises(UserError, match=f"^{name}: not set. The task definition sets it"):
        Settings.from_environment(ENVIRONMENT | {name: ""})


@pytest.mark.parametrize(
    ("name", "value"), [("NERFORGE_RUN", "run-1"), ("NERFORGE_ATTEMPT", "0"), ("NERFORGE_ATTEMPT", "one")]
)
def test_each_that_is_wrong_is_named(name, value):
    with pytest.raises(UserError, match=f"^{name}: '{value}' is no "):
        Settings.from_environment(ENVIRONMENT | {name: value})


def test_the_process_says_so_and_exits_as_wrong_input(monkeypatch, capsys):
    monkeypatch.setattr(Interruption, "listen", lambda self: None)
    monkeypatch.delenv("NERFORGE_RUN", raising=False)
    assert trainer.main() == states.EXIT_WRONG_INPUT
    assert capsys.readouterr().err.startswith("error: NERFORGE_RUN: not set.")
