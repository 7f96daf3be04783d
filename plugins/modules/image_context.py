#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_context
short_description: Stage an image's build context under a tag made from its content
description:
  - Gathers files and folders into C(<path>/<tag>/context); the tag is the checksum of all that went in.
  - The same sources always give the same tag, so that an image is built and pushed only when one changed.
version_added: 0.1.0
author:
  - The nerforge authors (@nerforge)
options:
  path:
    description: Folder that holds the contexts of one image, one folder a tag.
    type: path
    required: true
  salt:
    description: Text that the tag follows too, such as the base image's name.
    type: str
    default: ""
extends_documentation_fragment:
  - nerforge.aws.sources
attributes:
  check_mode:
    description: Tells the tag and writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Stage the trainer's context
  nerforge.aws.image_context:
    path: /tmp/images/trainer
    sources:
      - src: containers/trainer/Dockerfile
        dest: Dockerfile
      - src: containers/trainer/nerforge_trainer
        dest: app/nerforge_trainer
  register: trainer
"""

RETURN = r"""
tag:
  description: The first 20 hexadecimal digits of the content's SHA-256.
  returned: success
  type: str
  sample: 3b0c4f2ad7e19c5587aa
context:
  description: Folder of the staged context.
  returned: success
  type: str
  sample: /tmp/images/trainer/3b0c4f2ad7e19c5587aa/context
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nerforge.aws.plugins.module_utils.sources import OPTION, failures_told_by, gather


def content_tag(files: dict[str, Path], salt: str) -> str:
    """The tag: a checksum over the salt and over the names and bytes of all files."""
    digest = hashlib.sha256(salt.encode())
    for name, path in files.items():
        content = path.read_bytes()
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:20]


def stage(files: dict[str, Path], context: Path) -> None:
    """Copy the files to ``context``, which appears whole or not at all."""
    context.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.parent) as scratch:
        whole = Path(scratch) / "context"
        for name, path in files.items():
            target = whole / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        # A context has the same permissions whatever the umask of the checkout: they become the image's.
        for folder, _folders, names in os.walk(whole):
            Path(folder).chmod(0o755)
            for name in names:
                (Path(folder) / name).chmod(0o644)
        try:
            whole.rename(context)
        except OSError:
            if not context.is_dir():  # else another deploy has staged the same meanwhile
                raise


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "sources": OPTION,
            "salt": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    folder = Path(module.params["path"])
    with failures_told_by(module, folder):
        files = gather(module.params["sources"])
        tag = content_tag(files, module.params["salt"])
        context = folder / tag / "context"
        changed = not context.is_dir()
        if changed and not module.check_mode:
            stage(files, context)
    module.exit_json(changed=changed, tag=tag, context=str(context))


if __name__ == "__main__":
    main()
