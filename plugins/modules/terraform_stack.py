#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: terraform_stack
short_description: Apply or destroy a Terraform stack, with a line for each resource as it is made
version_added: 0.1.0
description:
  - Runs C(terraform init) when something it depends on has changed, then one C(terraform apply).
  - Prints each resource as it is created, changed or destroyed, and every ten seconds what is under way.
  - Credentials, region and endpoint go to Terraform by its environment, variables by a file that only its
    owner may read; neither stands on a command line.
  - An interrupt is passed on to Terraform, which finishes what is under way and saves its state.
options:
  path:
    description: Folder of the stack's C(.tf) files.
    type: path
    required: true
  state:
    description: Whether the stack's resources should be there.
    type: str
    choices: [present, absent]
    default: present
  variables:
    description: Values of the stack's variables.
    type: dict
    default: {}
  backend:
    description: Settings of the stack's backend, for a partial backend configuration.
    type: dict
    default: {}
  data_dir:
    description:
      - Where Terraform keeps its plugins and the backend's settings; made if need be.
      - By default C(.terraform) in O(path).
    type: path
  targets:
    description: Addresses of the resources to keep to. Empty for the whole stack.
    type: list
    elements: str
    default: []
  binary:
    description: The Terraform to run, 1.10 or later.
    type: path
    default: terraform
  cli_config:
    description:
      - Terraform's CLI configuration, for example one that names a provider mirror.
      - By default the file that E(TF_CLI_CONFIG_FILE) names, if it is there.
    type: path
  plugin_cache_dir:
    description: Folder that keeps providers for several stacks, so that each is fetched once.
    type: path
  provider_mirrors:
    description:
      - Folders that may hold a filesystem mirror of providers; C(~) and C(/opt/*) are understood.
      - The first that has every provider of the stack's lock file for this platform replaces the registry.
      - Without effect where there is a CLI configuration.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    description: Prints each change that would be made. The state is not locked; RV(outputs) stays empty.
    support: full
notes:
  - An action plugin of the same name does the work on the control node.
  - O(aws_config) has no effect, and O(validate_certs=false) is refused; use O(aws_ca_bundle).
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Make the training stack
  nerforge.aws.terraform_stack:
    path: terraform/training
    data_dir: .nerforge/terraform/training
    backend:
      bucket: ner-terraform-123456789012-eu-central-1
      key: training.tfstate
      region: eu-central-1
      use_lockfile: true
    variables:
      prefix: ner
      region: eu-central-1
    region: eu-central-1
  register: training

- name: Say where the service is
  ansible.builtin.debug:
    msg: "{{ training.outputs.url }}"

- name: Destroy it, on the local AWS
  nerforge.aws.terraform_stack:
    path: terraform/training
    state: absent
    region: eu-central-1
    endpoint_url: http://127.0.0.1:4566
    access_key: local
    secret_key: local
"""

RETURN = r"""
added:
  description: Resources created; in check mode, that would be.
  type: int
  returned: when Terraform ran
  sample: 3
altered:
  description: Resources changed in place; in check mode, that would be.
  type: int
  returned: when Terraform ran
  sample: 1
destroyed:
  description: Resources destroyed; in check mode, that would be.
  type: int
  returned: when Terraform ran
  sample: 0
resources:
  description: What was done to each resource; in check mode, what would be.
  type: list
  elements: dict
  returned: when Terraform ran
  contains:
    address:
      description: The resource's address in the stack.
      type: str
      returned: always
    action:
      description: V(create), V(update), V(delete), V(replace), V(move), V(import) or V(remove).
      type: str
      returned: always
    seconds:
      description: How long it took.
      type: int
      returned: not in check mode
  sample:
    - {address: aws_lb.server, action: create, seconds: 61}
outputs:
  description: Values of the stack's outputs, without the sensitive ones.
  type: dict
  returned: when Terraform ran
  sample: {url: "http://ner-server-1.eu-central-1.elb.amazonaws.com"}
sensitive_outputs:
  description: Names of the sensitive outputs.
  type: list
  elements: str
  returned: when Terraform ran
  sample: []
"""
