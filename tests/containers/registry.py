"""A real registry, on loopback."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.deployment import free_port

START_SECONDS = 30
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """A registry, asked over its API.

    Parameters
    ----------
    address:
        Its host and port, which begin each reference to an image in it.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def manifest(self, repository: str, digest: str) -> dict[str, Any]:
        """An image's manifest."""
        url = f"http://{self.address}/v2/{repository}/manifests/{digest}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": MANIFEST})) as answer:
            return json.load(answer)


@contextmanager
def registry(folder: Path, environment: Mapping[str, str]) -> Iterator[Registry]:
    """Debian's docker-registry, with its images below ``folder``."""
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": address},
    }
    folder.mkdir(parents=True)
    (folder / "registry.yml").write_text(json.dumps(settings))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "registry.yml"],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _await(address, folder / "registry.log")
        yield Registry(address)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _await(address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"the registry does not answer; it says:\n{log.read_text()}"
            time.sleep(0.1)
