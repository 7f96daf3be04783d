"""How many runs, which seed, and a training stack of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment, fresh


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos-runs", type=int, default=20, help="how many runs; each takes some 4 s and 20 MB of disk"
    )
    parser.addoption("--chaos-seed", type=int, default=1, help="seed of all that is drawn")


@pytest.fixture(scope="session")
def chaos_deployment(root: Path) -> Iterator[Deployment]:
    """A home and a port of its own."""
    with fresh(root, "chaos") as deployment:
        yield deployment
