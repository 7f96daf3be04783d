"""Virtual environments below .nerforge/bench, one for each set of locked requirements."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".nerforge" / "bench"
PEERS = Path(__file__).resolve().parent / "peers"
SERVER = ROOT / "containers" / "server" / "requirements.txt"


def peer(name: str) -> Path:
    """The Python with what ``peers/<name>/requirements.txt`` locks."""
    return python(name, PEERS / name / "requirements.txt")


def server() -> Path:
    """The Python with what the server's image holds."""
    return python("server", SERVER)


def python(name: str, requirements: Path) -> Path:
    """The Python of the environment of this name, made anew if its requirements changed since.

    Parameters
    ----------
    requirements:
        A lock file with hashes.
    """
    folder = HOME / f"venv-{name}"
    mark, wanted = folder / "complete", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not (mark.is_file() and mark.read_text().strip() == wanted):
        print(f"Installing {name} into {folder} ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "--requirement", requirements], check=True)
        mark.write_text(wanted + "\n")
    return folder / "bin" / "python"
