# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the control plugins share."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of everything that works on one deployment."""

    DOCUMENTATION = r"""
options:
  prefix:
    description:
      - The prefix that the stacks were deployed under.
    type: str
    default: nerforge
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
notes:
  - An action plugin of the same name does the work on the control node, where it can print line by line.
    Credentials and environment variables are read there, and Ansible's own Python needs boto3.
"""
