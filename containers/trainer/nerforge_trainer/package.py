"""A trained pipeline as one file, and the manifest that describes it."""

import gzip
import importlib.metadata
import platform
import tarfile
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "spacy",
    "thinc",
    "blis",
    "numpy",
    "boto3",
    "cupy-cuda12x",
    "torch",
    "spacy-curated-transformers",
    "curated-transformers",
    "curated-tokenizers",
)


def pack(folder: Path, artifact: Path) -> None:
    """Pack a folder as a tar.gz that depends on nothing but its content: not on times, owners or their order.

    Parameters
    ----------
    folder:
        Its entries stand at the archive's root.
    artifact:
        The file to make.
    """
    with (
        artifact.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def environment() -> dict[str, Any]:
    """The Python, the platform, the CPU's name and the libraries that a model is made with here."""
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "libraries": libraries,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu(),
    }


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name, as Linux or else Python knows it; empty where neither does."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [
        value for key, __, value in (line.partition(":") for line in lines) if key.strip() == "model name"
    ]
    return names[0].strip() if names else platform.processor()
