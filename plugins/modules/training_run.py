#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run
short_description: Submit a training spec
version_added: 0.1.0
description:
  - Checks a spec and the data it names, uploads the data, and submits a run to the training stack's queue.
  - Everything is checked before anything is written. A wrong spec or wrong data gives one message, with the
    field or the file and line, and leaves nothing on the queue.
  - What is doubtful in the data is printed as warnings, and kept with the run; M(nerforge.aws.data_check)
    lists what that may be.
  - In check mode it checks all the same, and submits nothing.
options:
  spec:
    description:
      - Path of the spec, a YAML file; from the current folder or else from the playbook's.
      - Paths within it go from its own folder.
    type: path
    required: true
  data_dir:
    description:
      - A folder of data files. One in it, or below it, whose checksum is the C(sha256) of a source is used in
        that source's place, and nothing is downloaded.
    type: path
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Train on the sample corpus
  nerforge.aws.training_run:
    spec: playbooks/specs/sample.yml
  register: submitted

- name: Train on a public corpus that was downloaded before
  nerforge.aws.training_run:
    spec: playbooks/specs/wnut17.yml
    data_dir: ~/corpora

- name: Only check a spec and its data
  nerforge.aws.training_run:
    spec: people.yml
    prefix: staging
    region: eu-central-1
  check_mode: true
"""

RETURN = r"""
run_id:
  description: The run's id, a ULID; null in check mode.
  type: str
  returned: success
  sample: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
name:
  description: The name of the model that the run makes a version of.
  type: str
  returned: success
  sample: people
labels:
  description: The labels that will be learnt.
  type: list
  elements: str
  returned: success
  sample: [LOC, ORG, PER]
data:
  description: What each part of the data holds.
  type: dict
  returned: success
  sample:
    train: {sentences: 320, entities: {LOC: 98, ORG: 140, PER: 211}}
    dev: {sentences: 40, entities: {LOC: 12, ORG: 17, PER: 25}}
findings:
  description: The warnings, as M(nerforge.aws.data_check) returns them.
  type: list
  elements: dict
  returned: success
  sample:
    - what: "train: 1 repetition among its 320 texts; they weigh more"
      count: 1
      places: ["train.conll:90 repeats train.conll:1, 'Ada of London'"]
files:
  description: The files, as the run's record names them.
  type: list
  elements: dict
  returned: success
  sample:
    - from: train.conll
      key: datasets/8b3cfd01e41e5fb09a7c3a4e8a5c2a6a4a5c5e2f6d9a51bb0a3f5d5a1c0a4d17.conll
      sha256: 8b3cfd01e41e5fb09a7c3a4e8a5c2a6a4a5c5e2f6d9a51bb0a3f5d5a1c0a4d17
      format: conll
"""
