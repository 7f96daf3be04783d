#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: data_check
short_description: Check a training spec and its data
version_added: 0.1.0
description:
  - Does what M(nerforge.aws.training_run) does before it submits a run, but for asking whether the deployment
    has the capacity. It needs no deployment; AWS is asked only for data that the spec has from S3.
  - What cannot be trained on fails the task, with one message that names the field, or the file and line.
  - What is allowed and was hardly meant is printed as a warning, with its count and the first or worst
    places; the notes list it.
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
  debug_data:
    description:
      - Whether to print what spaCy's own C(debug data) says as well, of train and dev.
      - It initializes the pipeline of the spec's config with the data, so that it sees what this module does
        not, such as a config that does not fit the data, or how many words have a vector.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any case.
    support: full
notes:
  - "Warnings, what weighs most first: labels that train has none of; entities that do not begin and end with
    a token of spaCy's, which cannot be learnt; texts of test or dev that are in train too, and of test in
    dev; the same text marked in more than one way; names with mentions marked unlike nearly all others, 13 of
    14 at least; a part that lacks a label of train's; labels with fewer than 50 entities in train; entities
    with white space at an end, punctuation that hardly belongs to a name, or half of a pair of brackets or
    quotes; no text without an entity in train; texts that repeat another of their part; entities of more than
    15 words; documents without text."
  - Texts are the same if they differ in case and white space only. Those of up to three words without an
    entity may recur; where a script sets no white space between words, four characters count as one. A line
    is the one where the text begins, and of a C(.spacy) file the document's number.
  - A config's C(lang) is the spec's language. Where the spec names one too, it must be the same.
  - An action plugin of the same name does the work on the control node. spaCy is needed there for C(.spacy)
    files and for O(debug_data); without it the tokens of JSONL data are left to the trainer.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Check a spec and its data
  nerforge.aws.data_check:
    spec: people.yml

- name: Let spaCy look as well
  nerforge.aws.data_check:
    spec: playbooks/specs/wnut17.yml
    data_dir: ~/corpora
    debug_data: true
"""

RETURN = r"""
name:
  description: The name of the model that a run of the spec makes a version of.
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
  description:
    - The warnings, what weighs most first; C(count) is how many places there are, C(places) has up to three.
  type: list
  elements: dict
  returned: success
  sample:
    - what: "test: 2 of its 40 texts found in train too: its scores flatter the model"
      count: 2
      places:
        - "test.jsonl:3 is train.jsonl:17, 'Ada of London'"
        - "test.jsonl:9 is train.jsonl:4, 'Bob left Rome'"
files:
  description: The files, as a run's record would name them.
  type: list
  elements: dict
  returned: success
  sample:
    - from: train.conll
      key: datasets/8b3cfd01e41e5fb09a7c3a4e8a5c2a6a4a5c5e2f6d9a51bb0a3f5d5a1c0a4d17.conll
      sha256: 8b3cfd01e41e5fb09a7c3a4e8a5c2a6a4a5c5e2f6d9a51bb0a3f5d5a1c0a4d17
      format: conll
"""
