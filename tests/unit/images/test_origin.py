"""What an image's labels say of the sources."""

import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.nerforge.aws.plugins.plugin_utils import origin

VERSION = "org.opencontainers.image.version"
REVISION = "org.opencontainers.image.revision"


def git(folder: Path, *command: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *author, *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A collection in git, at a commit with a tag."""
    (tmp_path / "galaxy.yml").write_text("version: 1.2.3\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "tag", "-am", "release", "v1.2.3")
    return tmp_path


def test_a_checkout_has_version_and_commit(checkout):
    assert origin.labels(checkout) == {VERSION: "1.2.3", REVISION: git(checkout, "rev-parse", "HEAD")}


def test_a_changed_checkout_says_so(checkout):
    (checkout / "galaxy.yml").write_text("version: 1.2.4\n")
    assert origin.labels(checkout)[REVISION] == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_an_installed_collection_has_the_version_alone(checkout):
    installed = checkout / "ansible_collections" / "nerforge" / "aws"
    installed.mkdir(parents=True)
    (installed / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": "2.0.0"}}))
    assert origin.labels(installed) == {VERSION: "2.0.0"}  # the commit around it is its user's own


def test_a_checkout_without_a_commit_has_none(tmp_path):
    (tmp_path / "galaxy.yml").write_text("version: 1.2.3\n")
    git(tmp_path, "init", "-q")
    assert origin.labels(tmp_path) == {VERSION: "1.2.3"}
