#!/usr/bin/python
# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: ecr_image
short_description: See to it that ECR has an image under a tag made from its content
version_added: 0.1.0
description:
  - Looks for the tag in the repository, and builds and pushes the image only where it is not there yet.
  - Prints what the engine prints while it builds and pushes.
  - The image is labelled with the collection's version, and in a git checkout with the commit. Neither is
    part of the tag, so that an image keeps the labels of when its content was first built.
  - The login that ECR gives is used for this push alone, and is never on a command line.
  - community.docker builds and pushes too, but cannot ask ECR for a login or for the digest of a tag, and its
    BuildKit module needs a plugin of Docker's that podman and Debian's own Docker lack.
options:
  image:
    description: Which image; its repository is C(<prefix>/<image>).
    type: str
    required: true
  tag:
    description: The tag, made from the content as M(nerforge.aws.image_context) makes it.
    type: str
    required: true
  context:
    description: The folder to build, with its Dockerfile.
    type: path
    required: true
  engine:
    description: The command line of a Docker-compatible engine that builds with BuildKit, or of podman.
    type: str
    default: docker
  base:
    description: The image to start from, given to the build as C(BASE).
    type: str
  registry:
    description:
      - Where to push and pull, in place of the registry in the repository's URI; nothing logs in there.
      - The embedded local AWS answers at its own address, not at the one its repository URIs name.
    type: str
  build_arguments:
    description: More arguments of the engine's build command.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells whether the image would be built, before there is a repository too.
    support: full
extends_documentation_fragment:
  - nerforge.aws.deployment
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author:
  - The nerforge authors (@nerforge)
"""

EXAMPLES = r"""
- name: Build and push the trainer's image unless ECR has it
  nerforge.aws.ecr_image:
    image: trainer
    tag: 3b0c4f2ad7e19c5587aa
    context: /tmp/images/trainer/3b0c4f2ad7e19c5587aa/context
  register: trainer

- name: Build the server's image by podman, for another architecture
  nerforge.aws.ecr_image:
    image: server
    tag: 81f0ec2b7d5c4a60b1f3
    context: /tmp/images/server/81f0ec2b7d5c4a60b1f3/context
    engine: podman --remote
    build_arguments: [--platform, linux/arm64]
"""

RETURN = r"""
digest:
  description: The image's digest; null in check mode where the image is not there yet.
  returned: success
  type: str
  sample: sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
reference:
  description: What a task definition names, by digest where there is one.
  returned: success
  type: str
  sample: >-
    123456789012.dkr.ecr.eu-west-1.amazonaws.com/nerforge/trainer@sha256:5f70bf18a0860070
"""
