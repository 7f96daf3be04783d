#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_release
short_description: Serve a model version
version_added: 0.1.0
description:
  - Pins a model version in a new revision of the server's task definition, rolls the service to it, waits
    until ECS says that the rollout is complete, and then moves the alias.
  - A version is put to the C(gate) of the spec it was trained from. It is refused, with the figures, if a
    score does not reach what the gate asks, or if it may be worse than the version that the alias points at,
    or than that in service if this is another. For that, both are compared on the held-out sentences of the
    new one, by a paired bootstrap; the lower end of the 95 % interval of the difference of F must not lie
    below zero, or below minus the gate's C(margin). A version that was not yet evaluated on these sentences
    is evaluated by a run, which is followed.
  - Of two releases at once one wins, and the other says so; the service and the alias agree in the end.
  - A server that asks for API keys is not rolled out while there is none; M(nerforge.aws.api_key) makes one.
  - If the version does not come up, the service is put back to what it ran before, the alias stays where it
    was, and the task fails with the reason.
  - Each release is a revision of the task definition that Terraform knows nothing of. O(state=absent)
    deregisters them, before the serving stack is destroyed.
options:
  state:
    description:
      - C(present) serves O(model).
      - C(absent) deregisters all releases of the deployment. The service, if it still runs one, goes on with
        it.
    type: str
    choices: [present, absent]
    default: present
  model:
    description:
      - The version, as C(name:number), C(name@alias), or C(name) for its newest. Needed if O(state=present).
      - C(@serving) is the version that is served now. It is rolled out again if Terraform has changed the
        task definition since, or the API keys are others; its gate is not asked again and no alias is moved.
    type: str
  alias:
    description: The alias to move.
    type: str
    default: production
  force:
    description: Passes over the gate. Why that must be, in words, for the alias's history.
    type: str
  timeout:
    description: Seconds that the rollout may take beside the deployment strategy's waits; then it is undone.
    type: int
    default: 900
  verify_url:
    description:
      - Where the server answers, if that can be reached from the control node. Once ECS is done, the server
        is asked which model it serves until every answer names this one. Left out, nobody is asked.
    type: str
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Serve the third version
  nerforge.aws.model_release:
    model: people:3

- name: Serve the newest version, gate or no gate
  nerforge.aws.model_release:
    model: people
    force: the test data of the version before was wrong

- name: Take a change of the stack into service
  nerforge.aws.model_release:
    model: "@serving"

- name: Leave nothing that Terraform would not destroy
  nerforge.aws.model_release:
    state: absent
"""

RETURN = r"""
model:
  description: The version that is served; null if none is.
  type: str
  returned: when O(state=present)
  sample: people:3
previous:
  description: The version that was served before; null if none was.
  type: str
  returned: when O(state=present)
  sample: people:2
task_definition:
  description: The revision that the service runs; in check mode, the one it runs now.
  type: str
  returned: when O(state=present)
  sample: arn:aws:ecs:us-east-1:123456789012:task-definition/nerforge-server:9
deregistered:
  description: The revisions that were deregistered.
  type: list
  elements: str
  returned: when O(state=absent)
  sample: [arn:aws:ecs:us-east-1:123456789012:task-definition/nerforge-server:9]
"""
