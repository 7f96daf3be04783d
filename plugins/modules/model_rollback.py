#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_rollback
short_description: Serve the release before
version_added: 0.1.0
description:
  - Returns the service to the release before the one that the alias points at, and moves the alias back. No
    gate is asked. Done again, it goes back one release more.
  - Ends a promotion that is under way, or that has got stuck. The service then returns to what the alias
    says, and the alias stays where it is. A rollback that was cut short is finished.
  - The version is pinned as M(nerforge.aws.model_release) does it, with the checksum on record, and the
    service followed and asked in the same way. If it does not come up, the service goes on with what it ran.
options:
  name:
    description: The model's name; left out, that of the model that is served.
    type: str
  alias:
    description: The alias to move.
    type: str
    default: production
  timeout:
    description: Seconds that the rollout may take; then it is undone.
    type: int
    default: 900
  verify_url:
    description:
      - Where the server answers, if that can be reached from the control node. Once ECS is done, the server
        is asked which model it serves until every answer names this one.
    type: str
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Serve what was served before
  nerforge.aws.model_rollback:

- name: The same, of a model with an alias of its own
  nerforge.aws.model_rollback:
    name: people
    alias: staging
"""

RETURN = r"""
model:
  description: The version that is served.
  type: str
  returned: success
  sample: people:6
previous:
  description: The version that was served, or being rolled out, before.
  type: str
  returned: success
  sample: people:7
task_definition:
  description: The revision that the service runs; in check mode, the one it runs now.
  type: str
  returned: success
  sample: arn:aws:ecs:us-east-1:123456789012:task-definition/nerforge-server:9
"""
