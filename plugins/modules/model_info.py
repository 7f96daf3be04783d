#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_info
short_description: List model versions, show one whole, or compare two
version_added: 0.1.0
description:
  - Reads the model versions of a deployment, with their scores, the aliases that point at them, and which one
    the service serves now.
  - Of one version it shows all there is to say, and of two what differs, in their scores and in what they
    were made from. Where both were evaluated on the same sentences, it tells how much may be chance.
  - In the table C(ECE) is the expected calibration error of the entities' scores, from 0, the best, to 1.
options:
  model:
    description:
      - Only this model C(name), or only the version C(name:number) or C(name@alias).
    type: str
  with:
    description:
      - The version to compare O(model) with, as C(name:number), C(name@alias), or C(name) for its newest.
    type: str
  config:
    description: Whether to print the whole training config of the one version too.
    type: bool
    default: false
  display:
    description: Whether to print them too, as a table; one version is printed in full, two side by side.
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
- name: Show all models
  nerforge.aws.model_info:
    display: true

- name: See which version is in production
  nerforge.aws.model_info:
    model: people@production
  register: production

- name: See what the last training has changed
  nerforge.aws.model_info:
    model: people
    with: people@production
    display: true
"""

RETURN = r"""
models:
  description:
    - The versions, in the order of their names, the newest first; or O(model), then O(with).
    - One version that is shown has C(cost) besides, what its run has cost in USD by attempts; null where that
      is not known.
  type: list
  elements: dict
  returned: success
  sample:
    - model: people:3
      name: people
      version: 3
      run: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
      created: "2026-03-01T09:14:02.411+00:00"
      language: en
      labels: [LOC, ORG, PER]
      scores: {"on": test, f: 0.871, p: 0.88, r: 0.862}
      calibration: {"on": test, ece: 0.031, ece_uncalibrated: 0.112, temperature: 1.37, bins: []}
      sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
      bytes: 4211200
      prefix: models/people/3/
      aliases: [production]
      serving: true
manifest:
  description: What the version O(model) was made from, and how good it is.
  type: dict
  returned: when one version is shown
history:
  description: The moves of aliases to the version and from it, oldest first.
  type: list
  elements: dict
  returned: when one version is shown
  sample:
    - alias: production
      version: 3
      before: 2
      at: "2026-03-01T10:02:44.120+00:00"
      kind: promote
      by: arn:aws:iam::123456789012:user/anna
differences:
  description: By C(spec), C(config), C(data) and C(environment), what differs, with both values.
  type: dict
  returned: when two versions are compared
  sample: {spec: {hyperparameters.max_steps: [2000, 1000]}, config: {}, data: {}, environment: {}}
apart:
  description:
    - F of both on the same sentences, and the ends of the 95 % interval of the difference; null where they
      were not evaluated on the same.
  type: dict
  returned: when two versions are compared
  sample: {ours: 0.871, theirs: 0.866, low: -0.002, high: 0.012, sentences: 3453}
serving:
  description: What the service runs now; null where the serving stack is not deployed.
  type: dict
  returned: success
  sample:
    model: people:3
    task_definition: arn:aws:ecs:us-east-1:123456789012:task-definition/nerforge-server:9
    rollout: COMPLETED
    desired: 2
    running: 2
"""
