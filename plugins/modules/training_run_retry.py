#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run_retry
short_description: Begin a training run anew
version_added: 0.1.0
description:
  - Submits the stored spec of a run that has C(FAILED) or was C(CANCELLED), as a new run; the data lie in the
    bucket already. The trainer goes on from the old run's newest checkpoint, if there is one.
  - A run that evaluates or reproduces a version, as its C(purpose) says, is begun anew as one that does.
  - The spec, with its changes, is checked whole again before anything is written.
  - If a run that has not ended retries the same one already, nothing is submitted, and that run is returned.
options:
  run:
    description:
      - The id of the run to begin anew, the beginning of it, or C(latest).
    type: str
    required: true
  changes:
    description:
      - What to change in the spec. Only C(resources), C(retries), C(time_limit_minutes) and C(checkpoints)
        may change, which have no part in the model that comes out.
      - A mapping changes only the fields that it names.
    type: dict
    default: {}
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Begin a run anew
  nerforge.aws.training_run_retry:
    run: 01JD4M5K6P
  register: retried

- name: Give it more memory
  nerforge.aws.training_run_retry:
    run: 01JD4M5K6P
    changes:
      resources:
        memory_mib: 8192
"""

RETURN = r"""
run_id:
  description: The new run's id, a ULID; null in check mode.
  type: str
  returned: success
  sample: 01JD4N7T2MQ7R8S9T0V1W2X3Y4
retry_of:
  description: The id of the old run.
  type: str
  returned: success
  sample: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
spec:
  description: The spec as the new run has it.
  type: dict
  returned: success
  sample:
    name: people
    resources: {vcpu: 2, memory_mib: 8192, gpus: 0, spot: false}
"""
