"""The story's own deployment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment, fresh


@pytest.fixture(scope="session")
def deployment(root: Path) -> Iterator[Deployment]:
    """A home and a port of its own."""
    with fresh(root, "story") as deployment:
        yield deployment
