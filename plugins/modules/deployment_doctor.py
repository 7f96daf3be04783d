#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_doctor
short_description: Look at every link of a deployment
version_added: 0.1.0
description:
  - Looks at credentials, stacks, bucket, tables, the trainer's image and task definition, capacity, service,
    dispatcher, queues, alarms and runs; prints a line for each, and below it what to do where something is
    not in order.
  - Fails if anything is wrong; warnings are no failure. A check that cannot look is a finding, not the end.
  - It changes nothing.
options:
  process_images:
    description:
      - The folder of the images that run as processes of this machine, where no Docker engine builds them.
        Left out, an image that is not in this deployment's ECR is not looked for.
    type: path
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: See whether all is in order
  nerforge.aws.deployment_doctor:
    prefix: staging
  register: doctor
"""

RETURN = r"""
findings:
  description: What each check found.
  type: list
  elements: dict
  returned: always
  contains:
    check:
      description: The link that was looked at.
      type: str
    level:
      description: C(ok), C(warning) or C(WRONG).
      type: str
    what:
      description: What was found.
      type: str
    fix:
      description: What to do about it, or empty.
      type: str
  sample:
    - check: dead letters
      level: WRONG
      what: "messages in the dead letter queue: 3"
      fix: Run redrive.yml; with --check it only lists them.
"""
