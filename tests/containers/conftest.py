"""An engine, a registry, and a deployment whose tasks are containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment, free_port

from containers import debian
from containers import engine as engines
from containers import registry as registries


@pytest.fixture(scope="session")
def folder(root: Path) -> Path:
    """For what is unpacked, built and pushed."""
    folder = root / ".nerforge" / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def programs(folder: Path) -> dict[str, str]:
    """The environment in which Debian's programs run."""
    return debian.unpack(folder)


@pytest.fixture(scope="session")
def engine(folder: Path, programs: dict[str, str]) -> Iterator[engines.Engine]:
    """The engine that runs the tasks."""
    with engines.engine(folder, programs) as engine:
        yield engine


@pytest.fixture(scope="session")
def registry(
    programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[registries.Registry]:
    """An empty registry."""
    folder = tmp_path_factory.mktemp("registry") / "data"
    with registries.registry(folder, programs) as registry:
        yield registry


@pytest.fixture(scope="session")
def deployment(root: Path, engine: engines.Engine) -> Iterator[Deployment]:
    """A home and a port of its own; what is left, of these tests or of some that were killed, is removed."""
    deployment = Deployment(
        root,
        root / ".nerforge" / "containers-home",
        free_port(),
        "containers",
        variables={
            "images_engines": [engine.command],
            "images_build_arguments": engine.build_arguments,
        },
        environment=engine.environment,
    )
    deployment.remove()
    yield deployment
    deployment.remove()
