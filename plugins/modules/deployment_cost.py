#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_cost
short_description: Tell what a deployment costs
version_added: 0.1.0
description:
  - Without O(spec), prints what a deployment with these variables costs a month while nothing trains, a
    line for each thing that AWS bills by time, and what comes to it while a model is served. It need not be
    deployed.
  - With O(spec), prints how long a run of it will take and what that will cost.
  - Prices are those of a dated table that comes with the collection, written from memory, until O(refresh)
    has asked AWS for those of the deployment's region. The dispatcher counts by the same prices what each
    attempt of a run has cost.
options:
  spec:
    description:
      - Path of a spec, a YAML file; from the current folder or else from the playbook's.
    type: path
  refresh:
    description:
      - Whether to ask AWS what the stacks' instance types cost now, on demand and on spot, and what load
        balancers, alarms, addresses and the like do, and to keep that in the runs table. It takes a
        deployment on AWS, and the permissions C(pricing:GetProducts) and C(ec2:DescribeSpotPriceHistory).
    type: bool
    default: false
  stacks:
    description:
      - The folder with the stacks C(training) and C(serving), whose C(variables.tf) has the defaults.
    type: path
    required: true
  training_variables:
    description:
      - Variables of the training stack, over its defaults.
    type: dict
    default: {}
  serving_variables:
    description:
      - Variables of the serving stack, over its defaults.
    type: dict
    default: {}
notes:
  - "The time is the median of a step in up to five past runs with the same device, vCPUs, network and
    batches, times the steps that the same spec took, or else all that it may do. Where no run was like it, a
    step on a CPU with C(efficiency) is taken to last 0.11 s, as measured on two vCPUs; with a transformer
    200 times that, and all else five times, which are guesses. A minute goes by around the steps."
  - "A run is counted with the whole price of its instance: two that share one are each counted with all of
    it. Its volume, public address and traffic are not."
  - A region's prices differ from another's, by half between some. Taxes and free tiers are not counted, nor
    is what is billed by use - requests, traffic, logs, and what is stored beyond a GB - and what comes to
    some cents, such as the logs of Container Insights.
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Say what an idle deployment costs a month
  nerforge.aws.deployment_cost:
    stacks: terraform

- name: Say what a spec will cost
  nerforge.aws.deployment_cost:
    stacks: terraform
    spec: people.yml
"""

RETURN = r"""
prices:
  description: The day and the region of the prices, and where they are from.
  type: dict
  returned: success
  sample:
    dated: "2025-06-01"
    region: us-east-1
    source: written from memory of AWS's pricing pages and not looked up
idle:
  description: What costs by the month, in USD; C(when) is C(always) or C(while a model is served).
  type: list
  elements: dict
  returned: without a spec
  sample:
    - {when: always, what: load balancer, usd: 16.43}
    - {when: while a model is served, what: "1 m6i.xlarge, for 2 server tasks", usd: 140.16}
estimate:
  description: What a run of the spec will take and cost, in seconds and USD.
  type: dict
  returned: with a spec
  sample:
    seconds: 280.0
    basis: "by the last 3 runs like it: 0.14 s a step, 2,000 steps as before"
    instance_type: m6i.xlarge
    spot: false
    hourly: 0.192
    usd: 0.0149
    usd_around: 0.0576
    usd_at_most: 1.6512
"""
