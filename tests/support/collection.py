"""The collection as its users have it: built, and installed where nothing of the checkout is seen."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .paths import ROOT

BIN = Path(sys.executable).parent


def install(folder: Path) -> Path:
    """Build the collection and install it below ``folder``, which holds nothing else; returns where it lies.

    What it depends on is beside it by links to what the tests' environment carries. Raises
    subprocess.CalledProcessError where Ansible refuses.
    """
    run("ansible-galaxy", "collection", "build", "--output-path", folder / "built", cwd=ROOT)
    (artifact,) = (folder / "built").glob("*.tar.gz")
    options = ("--collections-path", folder, "--offline", "--no-deps")
    run("ansible-galaxy", "collection", "install", artifact, *options, cwd=folder)
    namespaces = folder / "ansible_collections"
    for namespace in ("amazon", "community"):
        (namespaces / namespace).symlink_to(bundled() / namespace)
    collection = namespaces / "nerforge" / "aws"
    shutil.copy(ROOT / "galaxy.yml", collection)  # antsibull-changelog asks for it
    return collection


def run(program: str, *arguments: str | Path, cwd: Path, **environment: str) -> str:
    """What a program of the tests' environment prints; a note on the CalledProcessError where it fails."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            [program, *arguments],
            cwd=cwd,
            env=os.environ | {"PATH": path, "ANSIBLE_LOCALHOST_WARNING": "false"} | environment,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        error.add_note(error.stdout)
        raise
    return done.stdout


def bundled() -> Path:
    """The collections that come with the package ansible."""
    import ansible_collections

    return next(Path(path) for path in ansible_collections.__path__ if (Path(path) / "amazon").is_dir())
