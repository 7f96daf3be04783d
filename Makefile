# One door to every chore. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

HOME_DIR := .nerforge
VENV := $(HOME_DIR)/venv
TEST_VENV := $(HOME_DIR)/test-venv
TRANSFORMERS_VENV := $(HOME_DIR)/transformers-venv
GPU_VENV := $(HOME_DIR)/gpu-venv
TORCH_WHEELS := https://download.pytorch.org/whl/cpu/torch/
AUDIT_VENV := $(HOME_DIR)/audit-venv
PLAYBOOK := $(VENV)/bin/ansible-playbook
# spaCy 3.8.7 has wheels for these.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help setup demo down test lint unit molecule terraform-test story test-containers chaos-short chaos rolls soak bench audit docs changelog lock transformers bench-gpu

help: ## List what there is to do
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

setup: $(VENV)/complete ## Install what the playbooks need into .nerforge/venv

demo: setup ## Deploy on this machine, train the sample model, serve it, ask it (about 6 minutes; again: 1)
	@$(PLAYBOOK) playbooks/demo.yml

down: ## Remove all that the demo made
	@if [ -d "$${NERFORGE_HOME:-$(HOME_DIR)}/local-aws" ]; then \
	  $(MAKE) --no-print-directory setup; \
	  $(PLAYBOOK) playbooks/destroy.yml || { \
	    echo "The stacks could not be destroyed, so all stays. To drop the local AWS with whatever it holds:" >&2; \
	    echo "  $(PLAYBOOK) playbooks/local.yml -e local_aws_state=absent && make down" >&2; exit 1; }; fi
	@mkdir -p $(HOME_DIR) && find $(HOME_DIR) -mindepth 1 -maxdepth 1 ! -name test-venv ! -name audit-venv ! -name bench.json ! -name keys -exec rm -rf {} +
	@echo "Removed: the local AWS, both stacks, the models, the environments. Kept: API keys, and what tests need in $(TEST_VENV)."
	@[ -z "$${NERFORGE_HOME:-}" ] || echo "Images and Terraform's data stay in $$NERFORGE_HOME: remove the folder if it holds nothing else."

test: lint unit terraform-test ## Run all tests (about 25 minutes)
	@echo "== Molecule, the story, containers and chaos, two at a time; each is shown when it ends"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target molecule story test-containers chaos-short

lint: $(TEST_VENV)/complete ## Static checks of Python, YAML and Dockerfiles, and the judges of Ansible's community
	@echo "== Lint"
	@$(TEST_VENV)/bin/ruff check .
	@$(TEST_VENV)/bin/ruff format --check .
	@$(TEST_VENV)/bin/yamllint --strict .
	@$(TEST_VENV)/bin/hadolint containers/*/Dockerfile
	@$(TEST_VENV)/bin/python tests/support/paths.py
	@$(TEST_VENV)/bin/mypy
	@PATH=$(CURDIR)/$(TEST_VENV)/bin:$$PATH ansible-lint --offline --profile production
	@$(TEST_VENV)/bin/pytest -n 2 --dist loadgroup --durations=0 --durations-min=1 tests/collection

changelog: $(TEST_VENV)/complete ## Write CHANGELOG.md from changelogs/fragments
	@$(TEST_VENV)/bin/python tests/changelog.py

unit: $(TEST_VENV)/complete ## Unit tests
	@echo "== Unit tests"
	@$(TEST_VENV)/bin/pytest -n 2 --dist loadfile tests/unit

terraform-test: setup $(TEST_VENV)/complete ## terraform fmt, validate and test of both stacks
	@echo "== Terraform"
	@$(fetch-terraform)
	@$(TEST_VENV)/bin/pytest tests/terraform

# A role by itself; what it says is shown if it fails.
include-role = said=$$($(VENV)/bin/ansible localhost -m ansible.builtin.include_role -a '$(1)' $(2)) \
  || { echo "$$said" >&2; exit 1; }
fetch-terraform = $(call include-role,name=nerforge.aws.stack tasks_from=terraform,-e stack_home=$(CURDIR)/$(HOME_DIR))

# What the tasks run in as processes: made once, before tests that share it would make it side by side.
PROCESSES := $(HOME_DIR)/images/environments/complete
$(PROCESSES): containers/trainer/requirements.txt containers/server/requirements.txt | setup
	@$(call include-role,name=nerforge.aws.images,-e nerforge_home=$(CURDIR)/$(HOME_DIR) \
	  -e nerforge_prefix=nerforge -e '{images_engines: []}' -e '{images_processes: true}')
	@touch $@

molecule: $(PROCESSES) $(TEST_VENV)/complete ## One scenario a role
	@echo "== Molecule"
	@PATH=$(CURDIR)/$(TEST_VENV)/bin:$$PATH MOLECULE_GLOB='tests/molecule/*/molecule.yml' molecule test --all

story: $(PROCESSES) $(TEST_VENV)/complete ## The whole story on the embedded AWS: deploy, train, promote, ask, destroy
	@echo "== The story"
	@$(TEST_VENV)/bin/pytest --exitfirst --durations=0 --durations-min=1 tests/story

test-containers: setup $(TEST_VENV)/complete ## Build both images, and the story with the tasks as containers (Docker, or root on Debian)
	@echo "== Containers"
	@$(TEST_VENV)/bin/pytest --exitfirst --durations=0 --durations-min=1 tests/containers

transformers: $(TRANSFORMERS_VENV)/complete ## Fine-tune small transformers on the CPU, and serve them
	@echo "== Transformers"
	@OMP_NUM_THREADS=1 $(TRANSFORMERS_VENV)/bin/python -m pytest tests/pretrained

bench-gpu: $(GPU_VENV)/complete ## Train WikiGold on a GPU and the CPU (NERFORGE_CORPORA=; TRANSFORMER=ARCHIVE.tar, STEPS=; x86-64 Linux, 10 GB)
	@$(GPU_VENV)/bin/python tests/gpu/bench.py $(if $(TRANSFORMER),--transformer $(TRANSFORMER)) $(if $(STEPS),--steps $(STEPS))

chaos-short: RUNS := 20
chaos: RUNS := 200
chaos chaos-short: $(PROCESSES) $(TEST_VENV)/complete ## 200 real runs under random faults (20 of them in `make test`; RUNS=, SEED=)
	@echo "== Chaos: $(RUNS) runs"
	@$(TEST_VENV)/bin/pytest tests/chaos --chaos-runs $(RUNS) $(if $(SEED),--chaos-seed $(SEED))

rolls: ROLLS := 20
rolls: setup $(TEST_VENV)/complete ## Roll the server 20 times and back 5 times under load, then break it (ROLLS=, ROLLBACKS=, REQUESTS=)
	@echo "== Rolls: $(ROLLS)"
	@$(TEST_VENV)/bin/pytest tests/rolls --rolls $(ROLLS) $(if $(ROLLBACKS),--rollbacks $(ROLLBACKS)) $(if $(REQUESTS),--requests $(REQUESTS))

soak: MINUTES := 30
soak: $(TEST_VENV)/complete ## The server at full load with its workers killed at random (MINUTES=30)
	@$(TEST_VENV)/bin/python tests/soak/soak.py --minutes $(MINUTES)

bench: $(TEST_VENV)/complete ## Measure ratios side by side (ONLY="server spacy", ROUNDS=); prints a table, writes .nerforge/bench.json
	@$(TEST_VENV)/bin/python tests/bench/run.py $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

audit: setup $(TEST_VENV)/complete $(AUDIT_VENV)/complete ## checkov, IAM policies, SBOMs, advisories (ADVISORIES=no: not these)
	@echo "== Audit"
	@rm -rf $(HOME_DIR)/policies $(HOME_DIR)/stacks
	@$(fetch-terraform)
	@$(TEST_VENV)/bin/pytest tests/terraform/test_permissions.py
	@$(AUDIT_VENV)/bin/python tests/audit/misconfigurations.py $(HOME_DIR)/stacks
	@$(AUDIT_VENV)/bin/python tests/audit/policies.py $(HOME_DIR)/policies
	@$(AUDIT_VENV)/bin/python tests/audit/sbom.py $(HOME_DIR)/sbom
	@$(if $(filter no,$(ADVISORIES)),echo "pip-audit: left out",$(AUDIT_VENV)/bin/python tests/audit/advisories.py)

docs: $(TEST_VENV)/complete ## Write the tables that documents take from code
	@$(TEST_VENV)/bin/python tests/document.py

lock: ## Write the lock files anew from pyproject.toml (needs uv)
	@$(call compile,test,tests/requirements.txt)
	@$(call compile,control,requirements.txt,-c tests/requirements.txt)
	@$(call compile,trainer,containers/trainer/requirements.txt,-c tests/requirements.txt)
	@$(call compile,server,containers/server/requirements.txt,-c tests/requirements.txt)
	@$(call compile,trainer-gpu,containers/trainer/requirements-gpu.txt,$(same_but_numpy))
	@$(call compile,trainer-transformers,containers/trainer/requirements-transformers.txt,$(with_torch))
	@$(call compile,server-transformers,containers/server/requirements-transformers.txt,$(with_torch))
	@$(call compile,test-transformers,tests/pretrained/requirements.txt,$(with_torch))
	@sed -i '2a --find-links $(TORCH_WHEELS)' containers/*/requirements-transformers.txt
	@$(call compile,local-aws,roles/local_aws/files/requirements.txt)
	@$(call compile,audit,tests/audit/requirements.txt)
	@$(foreach peer,bentoml fastapi gunicorn litserve mlserver newest-spacy, \
	  $(call compile,bench-$(peer),tests/bench/peers/$(peer)/requirements.txt);)

compile = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command 'make lock' --group $(1) pyproject.toml $(3) -o $(2)

# spacy-curated-transformers needs an older NumPy than the rest.
same_but_numpy = -c <(grep -E '^[a-z].*==' tests/requirements.txt | grep -v '^numpy' | sed 's/ \\$$//')
with_torch = $(same_but_numpy) --find-links $(TORCH_WHEELS)

$(VENV)/complete: requirements.txt
	$(call environment,$(VENV),requirements.txt,Ansible$(comma) spaCy and what they need)

$(GPU_VENV)/complete: containers/trainer/requirements-gpu.txt
	$(call environment,$(GPU_VENV),containers/trainer/requirements-gpu.txt,what the trainer needs on a GPU)

# Where PIP_FIND_LINKS is set, the wheel must be there: pip would ask PyTorch's site again for each package.
$(TRANSFORMERS_VENV)/complete: export PIP_FIND_LINKS := $(or $(PIP_FIND_LINKS),$(TORCH_WHEELS))
$(TRANSFORMERS_VENV)/complete: tests/pretrained/requirements.txt
	$(call environment,$(TRANSFORMERS_VENV),tests/pretrained/requirements.txt,PyTorch for the CPU and what trains with it)

$(TEST_VENV)/complete: tests/requirements.txt
	$(call environment,$(TEST_VENV),tests/requirements.txt,what the tests need)

$(AUDIT_VENV)/complete: tests/audit/requirements.txt
	$(call environment,$(AUDIT_VENV),tests/audit/requirements.txt,what the audit needs)

comma := ,
define environment
@if [ -z "$(PYTHON)" ]; then \
  echo "nerforge needs Python 3.11, 3.12 or 3.13, and finds none on PATH: install one, or say make PYTHON=/path/to/python3" >&2; exit 1; fi
@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
  echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
@echo "Installing $(3) into $(1) (about a minute) ..."
@rm -rf $(1)
@$(PYTHON) -m venv $(1)
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(2)
@touch $@
endef
