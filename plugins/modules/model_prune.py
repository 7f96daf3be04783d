#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_prune
short_description: Delete old model versions
version_added: 0.1.0
description:
  - Deletes the versions that a rule chooses, their files in S3 and their records. Numbers are not given
    again.
  - A version stays, whatever the rule says, while an alias points at it, while the service runs it, while one
    of five rollbacks in a row of any alias would return to it, while it is pinned in one of the six newest
    releases, or while a run works on it.
  - From the moment that a version is chosen, no alias moves to it. A command that was cut short is finished
    by the next one.
  - The bucket keeps what was deleted for another 30 days, as noncurrent versions of its objects.
options:
  keep:
    description: How many versions of each model stay, the newest.
    type: int
    required: true
  older_than:
    description: Only versions made more than so many days ago are deleted.
    type: float
    default: 0
  model:
    description: Only versions of this model are deleted. A name, such as C(people).
    type: str
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Keep five versions of each model
  nerforge.aws.model_prune:
    keep: 5

- name: Of one model, delete what is older than three months, but for the newest ten
  nerforge.aws.model_prune:
    model: people
    keep: 10
    older_than: 90
"""

RETURN = r"""
pruned:
  description: The versions that were (in check mode, would be) deleted.
  type: list
  elements: str
  returned: success
  sample: [people:1, people:2]
"""
