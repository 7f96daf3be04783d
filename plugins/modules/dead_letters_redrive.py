#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: dead_letters_redrive
short_description: Redrive the dead letter queue
version_added: 0.1.0
description:
  - Goes through the dead letter queue, and prints the age of each message, what becomes of it and why.
  - A message whose run is C(QUEUED) is sent back to the queue. One whose run is under way or has ended is
    dropped. One that names no run on record is kept; or purged, if that is asked for.
  - A message is sent before it is deleted, so none is lost; one that comes twice does no harm.
  - In check mode it only lists.
options:
  purge:
    description: Whether to delete the messages that name no run on record.
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
- name: See what lies in the dead letter queue
  nerforge.aws.dead_letters_redrive:
  check_mode: true

- name: Send back what can be, and delete what cannot
  nerforge.aws.dead_letters_redrive:
    purge: true
"""

RETURN = r"""
messages:
  description: The messages, with what became of them; in check mode, with what would.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: SQS's id of the message.
      type: str
    run_id:
      description: The run that it names, or null.
      type: str
    age_seconds:
      description: How long ago it was sent.
      type: int
    reason:
      description: Why it lay in the dead letter queue.
      type: str
    verdict:
      description: C(sent back), C(dropped), C(purged) or C(kept).
      type: str
    why:
      description: What the verdict goes by.
      type: str
  sample:
    - id: 6f1c2a0e-1b7d-4a44-9a6e-2f0d8a3f7c11
      run_id: 01JD4M5K6PQ7R8S9T0V1W2X3Y4
      age_seconds: 5400
      reason: the dispatcher received it several times and failed each time
      verdict: sent back
      why: run 01JD4M5K6PQ7R8S9T0V1W2X3Y4 waits for it
"""
