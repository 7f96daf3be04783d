# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules which gather source files share."""

from __future__ import annotations


class ModuleDocFragment:
    """The option that names the files."""

    DOCUMENTATION = r"""
options:
  sources:
    description:
      - What goes in, and under which name.
      - C(__pycache__) folders and compiled files are left out.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description: A file, or a folder with all that is in it.
        type: path
        required: true
      dest:
        description:
          - The file's name, or the folder that the content of O(sources[].src) is to lie in.
          - V(.) is the root.
        type: str
        required: true
"""
