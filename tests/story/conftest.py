"""The story's own deployment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment, free_port


@pytest.fixture(scope="session")
def deployment(root: Path) -> Iterator[Deployment]:
    """A home and a port of its own; whatever is left, of this story or of one that was killed, is removed."""
    deployment = Deployment(root, root / ".nerforge" / "story", free_port(), "story")
    deployment.remove()
    yield deployment
    deployment.remove()
