#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Make or revoke an API key of the server
version_added: 0.1.0
description:
  - Makes a key of 32 random bytes, and writes it into a file that only its owner can read. It is never
    printed or returned, and nothing but its SHA-256 leaves the control node.
  - The hashes of all keys, by their names, are published as the SSM parameter that the server reads as it
    starts. Tasks that run go on with the keys they have until the service is rolled, which
    M(nerforge.aws.model_release) does for the model C(@serving).
  - A key of a name that exists is refused, unless the file holds that very key, so that a task that was cut
    short may be repeated. To rotate one, make another, move its users to that, and revoke the first.
  - The last key is not revoked while the server is told to ask for keys, for it does not start without one.
  - Two operators may make and revoke keys at once, and none is lost.
options:
  name:
    description: The key's name, such as who uses it; lower-case letters, digits and hyphens.
    type: str
    required: true
  state:
    description: Whether there is to be such a key. C(present) makes one, and fails if another has the name.
    type: str
    choices: [present, absent]
    default: present
  path:
    description: The file that the key is written into; it must not exist, but for a task that is repeated.
      Needed if O(state=present).
    type: path
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Make a key for the web shop
  nerforge.aws.api_key:
    name: shop
    path: shop.key

- name: Revoke the key that it had before
  nerforge.aws.api_key:
    name: old-shop
    state: absent
"""

RETURN = r"""
name:
  description: The key's name.
  type: str
  returned: success
  sample: shop
names:
  description: The names of all keys that there are now.
  type: list
  elements: str
  returned: success
  sample: [batch, shop]
asked:
  description: Whether the server is told to ask for keys.
  type: bool
  returned: success
"""
