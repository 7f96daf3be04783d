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
  - Nothing is compressed, for zlib's output differs between its versions.
version_added: 0.1.0
author:
  - The nerforge authors (@nerforge)
options:
  path:
    description: The zip to make. Its folder is made, if need be.
    type: path
    required: true
extends_documentation_fragment:
  - nerforge.aws.sources
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
import stat
import tempfile
import zipfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nerforge.aws.plugins.module_utils.sources import OPTION, failures_told_by, gather

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip can tell
UNIX = 3  # as the system that made it, whichever did


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


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "sources": OPTION},
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    with failures_told_by(module, path):
        files = gather(module.params["sources"])
        content = pack(files)
        changed = is_changed(path, content)
        if changed and not module.check_mode:
            write(module, path, content)
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
