"""Terraform's own checks and tests of each stack."""

from collections.abc import Callable
from pathlib import Path

import pytest

STACKS = ("training", "serving")


@pytest.fixture(params=STACKS)
def terraform(terraform_in: Callable[[str], Callable[..., str]], request: pytest.FixtureRequest):
    """Runs Terraform in a copy of the stack."""
    return terraform_in(request.param)


def test_it_is_formatted(terraform):
    terraform("fmt", "-check", "-recursive", "-diff")


def test_it_is_valid(terraform):
    terraform("validate")


def test_it_makes_what_it_should(terraform):
    assert "0 failed" in terraform("test")


def test_both_stacks_use_the_same_terraform_and_provider(root: Path):
    for name in (".terraform.lock.hcl", "versions.tf"):
        training, serving = (
            (root / "terraform" / stack / name).read_text().split('provider "aws"')[0] for stack in STACKS
        )
        assert training == serving, name
