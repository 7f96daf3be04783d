"""Source files as modules gather them: what goes in, under which name, and what is wrong with it."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# The option `sources`, as the doc fragment of the same name documents it.
OPTION: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "src": {"type": "path", "required": True},
        "dest": {"type": "str", "required": True},
    },
}


def gather(sources: list[dict[str, str]]) -> dict[str, Path]:
    """Every file of the sources by the name it is to have, in the order of names.

    Parameters
    ----------
    sources:
        Each with ``src``, a file or a folder, and ``dest``, the file's name or the folder for what is in
        ``src``; ``.`` is the root. ``__pycache__`` folders and compiled files are left out.

    Raises ValueError for a source that is not there, a name that leads out of the root or is none, two files
    of one name, and if there is no file at all.
    """
    files: dict[str, Path] = {}
    for source in sources:
        for name, path in _found(Path(source["src"]), posixpath.normpath(source["dest"])):
            if name in files:
                raise ValueError(f"{files[name]} and {path} would both be {name}; give one another dest")
            files[name] = path
    if not files:
        raise ValueError("there is no file in them; name files, or folders that hold some")
    return dict(sorted(files.items()))


@contextlib.contextmanager
def failures_told_by(module: AnsibleModule, written: Path) -> Iterator[None]:
    """Have the module fail with one message for what `gather` raises, and for what can't be read or written.

    Parameters
    ----------
    module:
        The module at work.
    written:
        The file or folder that it makes.
    """
    try:
        yield
    except ValueError as error:
        module.fail_json(msg=f"sources: {error}.")
    except OSError as error:
        where = error.filename or written
        module.fail_json(msg=f"{where}: {error.strerror}. Make it readable, and {written.parent} writable.")


def _found(src: Path, dest: str) -> Iterator[tuple[str, Path]]:
    if dest == ".." or dest.startswith(("/", "../")):
        raise ValueError(f"dest {dest} leads out of the root; give a name relative to it")
    if src.is_file():
        if dest == ".":
            raise ValueError(f"src {src} is a file and needs a name as dest; give {src.name}")
        yield dest, src
    elif src.is_dir():
        for path in src.rglob("*"):
            inside = path.relative_to(src)
            if path.is_file() and "__pycache__" not in inside.parts and path.suffix != ".pyc":
                yield posixpath.normpath(posixpath.join(dest, inside.as_posix())), path
    else:
        raise ValueError(f"src {src} is neither a file nor a folder; name one that exists")
