#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_info
short_description: List the API keys of the server
version_added: 0.1.0
description:
  - Lists the names of the keys that M(nerforge.aws.api_key) has made, and tells whether the server asks for
    one.
options:
  display:
    description: Whether to print them too.
    type: bool
    default: false
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Show who has a key
  nerforge.aws.api_key_info:
    display: true
"""

RETURN = r"""
names:
  description: The names of the keys.
  type: list
  elements: str
  returned: success
  sample: [batch, shop]
asked:
  description: Whether the server is told to ask for keys.
  type: bool
  returned: success
source:
  description: Where it reads them, an SSM parameter or a secret; null if it asks for none or is not there.
  type: str
  returned: success
  sample: /nerforge/serving/api_keys
"""
