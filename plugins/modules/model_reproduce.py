#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_reproduce
short_description: Train a model version once more, and compare
version_added: 0.1.0
description:
  - Trains a version again from what its manifest records, its spec with config and seed, and the data by its
    checksums, in a run that registers no model; and says whether the weights come out the same, to the bit.
  - Fails unless they do, whatever the reason, so that an exit status of 0 means one thing. Files without
    weights may differ, such as one that names spaCy's version.
  - Says what is different from then, of the libraries, Python, the platform, the CPU and the trainer's image.
    The numeric libraries choose their routines by the CPU, so that another one may well give other weights.
  - The run takes what the training took. Interrupted, it goes on; RV(run_id) is among the runs of
    M(nerforge.aws.training_run_info), with what it found.
  - In check mode it checks that all is there, and submits nothing.
options:
  model:
    description:
      - The version, as C(name:number), C(name@alias), or C(name) for its newest.
    type: str
    required: true
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Does people:7 come out again?
  nerforge.aws.model_reproduce:
    model: people:7

- name: Only look whether it could be trained again
  nerforge.aws.model_reproduce:
    model: people@production
    prefix: staging
    region: eu-central-1
  check_mode: true
"""

RETURN = r"""
model:
  description: The version.
  type: str
  returned: success
  sample: people:7
run_id:
  description: The run that trained it once more.
  type: str
  returned: when a run was submitted
  sample: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
weights:
  description: Whether the weights are the same, to the bit.
  type: bool
  returned: when a run was submitted
  sample: true
identical:
  description: Whether all files of the pipeline are.
  type: bool
  returned: when a run was submitted
  sample: false
files:
  description: The files that differ.
  type: list
  elements: str
  returned: when a run was submitted
  sample: [meta.json]
environment:
  description: What is different from then, each as it was and as it is; null for what was not recorded.
  type: dict
  returned: when a run was submitted
  sample:
    spacy: [3.8.6, 3.8.7]
    cpu: [AMD EPYC 7R13 Processor, Intel(R) Xeon(R) Platinum 8488C]
f_then:
  description: F of the version on its held-out part.
  type: float
  returned: when a run was submitted
  sample: 0.8712
f:
  description: F of what was trained now on the same part.
  type: float
  returned: when a run was submitted
  sample: 0.8712
"""
