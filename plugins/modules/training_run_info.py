#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run_info
short_description: List training runs
version_added: 0.1.0
description:
  - Reads the runs of a deployment, newest first, or one of them.
  - Not every run trains a new version. One that evaluates a version or trains it once more has a C(purpose),
    and what it found in C(result).
  - C(cost) has what each attempt that is over has cost, in USD, if it had an instance - the price of the
    whole instance from the pull of the image to the end of the task. On the local AWS no instance is known.
options:
  run:
    description:
      - Only this run. Its id, the beginning of it, or C(latest).
    type: str
  state:
    description: Only runs in this state.
    type: str
    choices: [QUEUED, STARTING, RUNNING, SUCCEEDED, FAILED, CANCELLED]
  limit:
    description: The most runs to list.
    type: int
    default: 20
  display:
    description: Whether to print them too, as a table; one run is printed in full.
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
- name: Show the newest runs
  nerforge.aws.training_run_info:
    display: true

- name: Find what failed
  nerforge.aws.training_run_info:
    state: FAILED
    limit: 100
  register: failed
"""

RETURN = r"""
runs:
  description: The runs, newest first.
  type: list
  elements: dict
  returned: success
  sample:
    - run_id: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
      name: people
      state: RUNNING
      attempt: 1
      created: "2026-03-01T09:12:44.120+00:00"
      progress: {phase: training, step: 400, max_steps: 2000, epoch: 3, loss: 812.4, f: 0.412, seconds: 31.2}
      submitted_by: arn:aws:iam::123456789012:user/anna
"""
