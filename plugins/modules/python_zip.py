#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: python_zip
short_description: Make a zip of Python sources whose bytes depend on nothing but the sources
description:
  - Makes a deployment package, such as AWS Lambda takes. The same sources give the same bytes on every
    machine, so that what is deployed changes only when they do. M(community.general.archive) writes times and
    owners into its zips.
  - C(__pycache__) folders and compiled files are left out. Nothing is compressed, for zlib's output differs
    between its versions.
version_added: 0.1.0
author:
  - The nerforge authors (@nerforge)
options:
  path:
    description: The zip to make. Its folder is made, if need be.
    type: path
    required: true
  sources:
    description: What goes in, and under which name.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description: A file, or a folder with all that is in it.
        type: path
        required: true
      dest:
        description: The file's name in the zip, or the folder that the content of O(sources[].src) lies in;
          V(.) is the zip's root.
        type: str
        required: true
attributes:
  check_mode:
    description: Tells whether the zip would change, and its checksum, and writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Package the dispatcher
  nerforge.aws.python_zip:
    path: /tmp/dispatcher.zip
    sources:
      - src: terraform/training/dispatcher
        dest: .
      - src: plugins/module_utils/contract
        dest: nerforge_contract
"""

RETURN = r"""
path:
  description: The zip.
  returned: success
  type: str
  sample: /tmp/dispatcher.zip
files:
  description: Names of the files in it, in order.
  returned: success
  type: list
  elements: str
  sample: [dispatcher.py, nerforge_contract/names.py]
sha256:
  description: Its SHA-256, as hexadecimal digits.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
base64_sha256:
  description: Its SHA-256 in base64, as Lambda tells it.
  returned: success
  type: str
  sample: n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=
"""

import base64
import hashlib
import io
import os
import posixpath
import stat
import tempfile
import zipfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip can tell
UNIX = 3  # as the system that made it, whichever did


def gather(sources: list[dict[str, str]]) -> dict[str, Path]:
    """Every file to pack, by its name in the zip, in the order of names.

    Raises ValueError for a source that is not there, a name that leads out of the zip or is none, two files
    of one name, and if there is nothing to pack.
    """
    files: dict[str, Path] = {}
    for source in sources:
        src, dest = Path(source["src"]), posixpath.normpath(source["dest"])
        if dest.startswith(("/", "..")):
            raise ValueError(f"dest {source['dest']} leads out of the zip; give a name relative to its root")
        if src.is_file():
            if dest == ".":
                raise ValueError(f"src {src} is a file and needs a name as dest; give {src.name}")
            found = {dest: src}
        elif src.is_dir():
            found = {_name(dest, path.relative_to(src)): path for path in _sources_in(src)}
        else:
            raise ValueError(f"src {src} is neither a file nor a folder; name one that exists")
        for name, path in found.items():
            if name in files:
                raise ValueError(f"{files[name]} and {path} would both be {name}; give one another dest")
            files[name] = path
    if not files:
        raise ValueError("there is no file in them; name files, or folders that hold some")
    return dict(sorted(files.items()))


def pack(files: dict[str, Path]) -> bytes:
    """The zip of these files, by their names in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.create_system = UNIX
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, path.read_bytes())
    return packed.getvalue()


def is_changed(path: Path, content: bytes) -> bool:
    """Whether the file at ``path`` is missing or other than ``content``."""
    return not path.is_file() or path.read_bytes() != content


def write(module: AnsibleModule, path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    module.atomic_move(scratch, str(path))


def _name(folder: str, path: Path) -> str:
    return posixpath.normpath(posixpath.join(folder, path.as_posix()))


def _sources_in(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(folder).parts and path.suffix != ".pyc"
    ]


def main() -> None:
    source = {"src": {"type": "path", "required": True}, "dest": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "sources": {"type": "list", "elements": "dict", "required": True, "options": source},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        files = gather(module.params["sources"])
        content = pack(files)
        changed = is_changed(path, content)
        if changed and not module.check_mode:
            write(module, path, content)
    except ValueError as error:
        module.fail_json(msg=f"sources: {error}.")
    except OSError as error:
        where = error.filename or path
        module.fail_json(msg=f"{where}: {error.strerror}. Make it readable, and {path.parent} writable.")
    digest = hashlib.sha256(content)
    module.exit_json(
        changed=changed,
        path=str(path),
        files=list(files),
        sha256=digest.hexdigest(),
        base64_sha256=base64.b64encode(digest.digest()).decode(),
    )


if __name__ == "__main__":
    main()
