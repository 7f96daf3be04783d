#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run_log
short_description: Show what a training run writes
version_added: 0.1.0
description:
  - Prints the last lines of an attempt's log, each behind its time (UTC); and, if it follows, those that
    come, from attempt to attempt, until the run ends.
  - Where there is no log yet it says why.
options:
  run:
    description:
      - The run's id, the beginning of it, or C(latest).
    type: str
    default: latest
  attempt:
    description: Which attempt's log; left out, the current one's.
    type: int
  lines:
    description: How many lines to begin with, at most 10,000.
    type: int
    default: 100
  follow:
    description: Whether to go on until the run ends.
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
- name: Show the end of the newest run's log
  nerforge.aws.training_run_log:

- name: Show what the first attempt wrote
  nerforge.aws.training_run_log:
    run: 01JD4M5K6P
    attempt: 1
    lines: 1000

- name: See what a run writes until it ends
  nerforge.aws.training_run_log:
    run: 01JD4M5K6P
    follow: true
"""

RETURN = r"""
run_id:
  description: The run's id.
  type: str
  returned: success
  sample: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
attempt:
  description: The attempt whose log was shown first; null if there was none.
  type: int
  returned: success
  sample: 1
log_group:
  description: The log group.
  type: str
  returned: success
  sample: /nerforge/trainer
log_stream:
  description: The log stream in it; null if there was none.
  type: str
  returned: success
  sample: trainer/trainer/0f3a6c9be1d24c0f8a0b1c2d3e4f5a6b
lines:
  description: The lines it began with.
  type: list
  elements: str
  returned: success
  sample: ["09:12:47  fetching 3 files", "09:12:51  step 200/2000  loss 812.40"]
"""
