"""A real registry, on loopback."""

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.deployment import free_port

from . import debian

START_SECONDS = 30
MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


class Registry:
    """A registry, asked over its API.

    Parameters
    ----------
    address:
        Its host and port, which begin each reference to an image in it.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def manifest(self, repository: str, digest: str) -> bytes:
        """An image's manifest."""
        url = f"http://{self.address}/v2/{repository}/manifests/{digest}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": MANIFESTS})) as answer:
            return answer.read()


@contextmanager
def registry(folder: Path, environment: Mapping[str, str]) -> Iterator[Registry]:
    """Debian's docker-registry, with its images below ``folder``.

    Parameters
    ----------
    folder:
        One that is not there yet, and is removed at the end.
    environment:
        In which Debian's programs run.
    """
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": address},
    }
    folder.mkdir(parents=True)
    (folder / "registry.yml").write_text(json.dumps(settings))
    log = folder / "registry.log"
    process = debian.start(["docker-registry", "serve", folder / "registry.yml"], environment, log)
    try:
        _await(address, log)
        yield Registry(address)
    finally:
        process.kill()  # SIGTERM would have it wait ten seconds for its clients
        process.wait()
        shutil.rmtree(folder)


def _await(address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"the registry does not answer; it says:\n{log.read_text()}"
            time.sleep(0.1)
