"""An engine, a registry, and a deployment whose tasks are containers."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment, free_port

from containers import debian
from containers import engine as engines
from containers import own_engine as own_engines
from containers import registry as registries


@pytest.fixture(scope="session", autouse=True)
def end_by_sigterm_as_by_ctrl_c() -> Iterator[None]:
    """Whoever ends these tests by SIGTERM has all that they started ended and removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def folder(root: Path) -> Path:
    """For what is unpacked, built and pushed."""
    folder = root / ".nerforge" / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def base_image(root: Path) -> str:
    """The name of the image that both Dockerfiles start from."""
    texts = [path.read_text() for path in (root / "containers").glob("*/Dockerfile")]
    (name,) = {re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)[1] for text in texts}
    return name


@pytest.fixture(scope="session")
def engine(folder: Path, base_image: str) -> Iterator[engines.Engine]:
    """The engine that answers the shell's docker; without one, one of the tests' own."""
    if theirs := engines.found(folder):
        yield theirs
        return
    if os.geteuid():
        pytest.fail("No Docker engine answers: start one, or run this as root on Debian.", pytrace=False)
    try:
        with own_engines.own_engine(folder, base_image) as own:
            yield own
    except own_engines.Forbidden as forbidden:
        pytest.skip(f"this machine runs no containers: {forbidden}")


@pytest.fixture(scope="session")
def registry(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    """An empty registry."""
    programs = debian.unpack(folder / "registry", "docker-registry")
    with registries.registry(tmp_path_factory.mktemp("registry") / "data", programs) as registry:
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
    engine.forget(f"127.0.0.1:{deployment.port}/{deployment.prefix}/*")
