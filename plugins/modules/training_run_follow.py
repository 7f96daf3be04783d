#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run_follow
short_description: Follow a training run to its end
version_added: 0.1.0
description:
  - Prints a line when the run's state, reason, phase or progress changes, until it ends.
  - Fails if the run ends otherwise than C(SUCCEEDED), with the run's reason and the last lines of its log.
  - Fails, as M(nerforge.aws.model_reproduce) does, if the run reproduces a version and the weights differ.
  - It changes nothing; interrupting it leaves the run alone, and it can be followed again.
options:
  run:
    description:
      - The run's id, the beginning of it, or C(latest).
    type: str
    default: latest
  interval:
    description: Seconds between two looks at the run.
    type: float
    default: 1.0
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Follow the newest run
  nerforge.aws.training_run_follow:

- name: Follow the run that was just submitted
  nerforge.aws.training_run_follow:
    run: "{{ submitted.run_id }}"
  register: followed
"""

RETURN = r"""
run:
  description: The run as it ended.
  type: dict
  returned: when there is such a run
  sample:
    run_id: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
    name: people
    state: SUCCEEDED
    model: people:3
    attempt: 1
    created: "2026-03-01T09:12:44.120+00:00"
    started: "2026-03-01T09:12:45.310+00:00"
    running: "2026-03-01T09:12:47.902+00:00"
    ended: "2026-03-01T09:14:02.871+00:00"
    scores: {"on": test, f: 0.871, p: 0.88, r: 0.862}
"""
