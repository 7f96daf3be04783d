"""How many rolls, and a deployment of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment, fresh


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rolls", type=int, default=20, help="how many promotions; each takes some 15 s")
    parser.addoption("--rollbacks", type=int, default=5, help="how many rollbacks")
    parser.addoption("--requests", type=int, default=50_000, help="the least number of requests")


@pytest.fixture(scope="session")
def rolls_deployment(root: Path) -> Iterator[Deployment]:
    """A home and a port of its own."""
    with fresh(root, "rolls") as deployment:
        yield deployment
