"""What is installed from the project's lock files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """One package of a lock file, with the sha256 of each file that pip may take it from."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def public_version(self) -> str:
        """The version without its local part, such as ``+cpu``: PyPI takes none."""
        return Version(self.version).public


@dataclass(frozen=True)
class Image:
    """An image that is built from a lock file.

    Parameters
    ----------
    name:
        The folder's below ``containers``; after it, for a variant, what the lock file's name adds.
    base:
        The image that the Dockerfile starts from.
    lock:
        The lock file.
    """

    name: str
    base: str
    lock: Path

    def packages(self) -> list[Package]:
        """What pip installs in the image: on Linux, in the base's Python."""
        python = re.search(r"python:(\d+\.\d+)", self.base)[1]
        return packages(
            self.lock,
            {
                "os_name": "posix",
                "platform_machine": "x86_64",
                "platform_python_implementation": "CPython",
                "platform_system": "Linux",
                "python_full_version": f"{python}.0",
                "python_version": python,
                "sys_platform": "linux",
            },
        )


def images() -> list[Image]:
    """All images and their variants."""
    return [
        Image(f"{folder.name}{lock.stem.removeprefix('requirements')}", _base(folder), lock)
        for folder in sorted((ROOT / "containers").iterdir())
        for lock in sorted(folder.glob("requirements*.txt"))
    ]


def packages(lock: Path, environment: dict[str, str] | None = None) -> list[Package]:
    """The packages of a lock file whose markers hold in this environment, by default in the one at hand."""
    return [
        Package(requirement.name, next(iter(requirement.specifier)).version, tuple(_HASH.findall(text)))
        for requirement, text in _requirements(lock.read_text())
        if requirement.marker is None or requirement.marker.evaluate(environment)
    ]


def _requirements(text: str) -> Iterator[tuple[Requirement, str]]:
    for line in re.sub(r"\\\n", "", text).splitlines():
        if line.strip() and not line.startswith(("#", "--")):
            yield Requirement(line.partition("--hash")[0].strip()), line


def _base(folder: Path) -> str:
    return re.search(r"^ARG BASE=(\S+)$", (folder / "Dockerfile").read_text(), re.MULTILINE)[1]
