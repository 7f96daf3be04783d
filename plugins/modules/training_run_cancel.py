#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run_cancel
short_description: Cancel a training run
version_added: 0.1.0
description:
  - Moves a run that waits or trains to C(CANCELLED), for good, and has the dispatcher stop its task, which
    may save a last checkpoint within two minutes.
  - A run that is C(CANCELLED) already is left as it is. For one that has C(SUCCEEDED) or C(FAILED), be it
    a moment before, the task fails and says so.
options:
  run:
    description:
      - The run's id, the beginning of it, or C(latest).
    type: str
    required: true
  reason:
    description: Why, in words; it stands in the run's record, behind who did it.
    type: str
  follow:
    description: Whether to wait until the run's task is gone and its slot is free.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for that at most; the task fails beyond them, and the run stays cancelled.
    type: int
    default: 300
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Cancel a run
  nerforge.aws.training_run_cancel:
    run: 01JD4M5K6P
    reason: the labels were wrong

- name: Cancel the newest run, and do not wait for its task to end
  nerforge.aws.training_run_cancel:
    run: latest
    follow: false
"""

RETURN = r"""
run:
  description: The run as it then is; in check mode, as it was.
  type: dict
  returned: when there is such a run
  sample:
    run_id: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
    name: people
    state: CANCELLED
    cause: CANCELLED
    reason: "cancelled by arn:aws:iam::123456789012:user/anna: the labels were wrong"
    ended: "2026-03-01T09:14:02.871+00:00"
"""
