"""Writes CHANGELOG.md and changelogs/changelog.yaml from changelogs/fragments: ``make changelog``.

antsibull-changelog reads the modules of a collection where it is installed, so it works on such a copy. What
it tells of the version in galaxy.yml is told anew; of older ones, nothing changes.
"""

import datetime
import shutil
import tempfile
from pathlib import Path

import yaml
from support.collection import install, run
from support.paths import ROOT

WRITTEN = ("CHANGELOG.md", "changelogs/changelog.yaml")


def write(collection: Path) -> None:
    """Write the changelog of an installed collection anew."""
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    released = _forget(collection / "changelogs/changelog.yaml", version)
    run("antsibull-changelog", "release", "--date", released, cwd=collection)


def _forget(record: Path, version: str) -> str:
    """Take a version out of the record of all releases; returns its day, today's if it was not there."""
    content = yaml.safe_load(record.read_text()) if record.is_file() else {"releases": {}}
    release = content["releases"].pop(version, {})
    if content["releases"]:
        record.write_text(yaml.safe_dump(content))
    else:
        record.unlink(missing_ok=True)
    return str(release.get("release_date") or datetime.date.today())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="nerforge-") as scratch:
        collection = install(Path(scratch))
        write(collection)
        for name in WRITTEN:
            shutil.copyfile(collection / name, ROOT / name)
