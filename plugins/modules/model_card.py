#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_card
short_description: Fetch the card of a model version
version_added: 0.1.0
description:
  - Fetches the page that describes a model version, its scores, its worst errors and what it came from.
    Prints where it is, and opens it in the browser where there is a display.
  - The page quotes the data, so that only its owner can read the file, and a folder made for it.
options:
  model:
    description: The version, as C(name:number), C(name@alias), or C(name) for its newest.
    type: str
    required: true
  folder:
    description: Where to put the page, as C(name-number.html); the folder is made if need be.
    type: path
    required: true
  open:
    description: Whether to open it in the browser.
    type: bool
    default: true
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Look at the model in production
  nerforge.aws.model_card:
    model: people@production
    folder: ~/cards
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: success
  sample: /home/anna/cards/people-3.html
opened:
  description: Whether a browser was opened.
  type: bool
  returned: success
"""
