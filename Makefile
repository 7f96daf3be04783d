# One door to every chore. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

HOME_DIR := .nerforge
VENV := $(HOME_DIR)/venv
TEST_VENV := $(HOME_DIR)/test-venv
PLAYBOOK := $(VENV)/bin/ansible-playbook
# spaCy 3.8.7 has wheels for these.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help setup demo down test lint unit molecule terraform-test story chaos-short chaos rolls soak bench docs lock

help: ## List what there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: $(VENV)/complete ## Install what the playbooks need into .nerforge/venv

demo: setup ## Deploy on this machine, train the sample model, serve it, ask it (about 6 minutes; again: 1)
	@$(PLAYBOOK) playbooks/demo.yml

down: ## Remove all that the demo made
	@if [ -d "$${NERFORGE_HOME:-$(HOME_DIR)}/local-aws" ]; then \
	  $(MAKE) --no-print-directory setup; \
	  $(PLAYBOOK) playbooks/destroy.yml || { \
	    echo "The stacks could not be destroyed, so all stays. To drop the local AWS with whatever it holds:" >&2; \
	    echo "  $(PLAYBOOK) playbooks/local.yml -e local_aws_state=absent && make down" >&2; exit 1; }; fi
	@mkdir -p $(HOME_DIR) && find $(HOME_DIR) -mindepth 1 -maxdepth 1 ! -name test-venv ! -name bench.json ! -name keys -exec rm -rf {} +
	@echo "Removed: the local AWS, both stacks, the models, the environments. Kept: API keys, and what tests need in $(TEST_VENV)."
	@[ -z "$${NERFORGE_HOME:-}" ] || echo "Images and Terraform's data stay in $$NERFORGE_HOME: remove the folder if it holds nothing else."

test: lint unit terraform-test molecule story chaos-short ## Run all tests (about 25 minutes)

lint: $(TEST_VENV)/complete ## ruff, and ansible-lint's production profile
	@echo "== Lint"
	@$(TEST_VENV)/bin/ruff check .
	@$(TEST_VENV)/bin/ruff format --check .
	@PATH=$(CURDIR)/$(TEST_VENV)/bin:$$PATH ansible-lint --offline --profile production

unit: $(TEST_VENV)/complete ## Unit tests
	@echo "== Unit tests"
	@$(TEST_VENV)/bin/pytest -n 2 --dist loadfile tests/unit

terraform-test: setup $(TEST_VENV)/complete ## terraform fmt, validate and test of both stacks
	@echo "== Terraform"
	@$(VENV)/bin/ansible localhost -m ansible.builtin.include_role -a 'name=nerforge.aws.stack tasks_from=terraform' \
	  -e stack_home=$(CURDIR)/$(HOME_DIR) > /dev/null
	@$(TEST_VENV)/bin/pytest tests/terraform

molecule: $(TEST_VENV)/complete ## One scenario a role
	@echo "== Molecule"
	@PATH=$(CURDIR)/$(TEST_VENV)/bin:$$PATH MOLECULE_GLOB='tests/molecule/*/molecule.yml' molecule test --all

story: setup $(TEST_VENV)/complete ## The whole story on the embedded AWS: deploy, train, promote, ask, destroy
	@echo "== The story"
	@$(TEST_VENV)/bin/pytest --exitfirst --durations=0 --durations-min=1 tests/story

chaos-short: RUNS := 20
chaos: RUNS := 200
chaos chaos-short: setup $(TEST_VENV)/complete ## 200 real runs under random faults (20 of them in `make test`; RUNS=, SEED=)
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

docs: $(TEST_VENV)/complete ## Write the tables that documents take from code
	@$(TEST_VENV)/bin/python tests/document.py

lock: ## Write the lock files anew from pyproject.toml (needs uv)
	@$(call compile,test,tests/requirements.txt)
	@$(call compile,control,requirements.txt,-c tests/requirements.txt)
	@$(call compile,trainer,containers/trainer/requirements.txt,-c tests/requirements.txt)
	@$(call compile,trainer-gpu,containers/trainer/requirements-gpu.txt,-c tests/requirements.txt)
	@$(call compile,server,containers/server/requirements.txt,-c tests/requirements.txt)
	@$(call compile,local-aws,roles/local_aws/files/requirements.txt)
	@$(foreach peer,bentoml fastapi gunicorn litserve mlserver newest-spacy, \
	  $(call compile,bench-$(peer),tests/bench/peers/$(peer)/requirements.txt);)

compile = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command 'make lock' --group $(1) pyproject.toml $(3) -o $(2)

$(VENV)/complete: requirements.txt
	$(call environment,$(VENV),requirements.txt,Ansible$(comma) spaCy and what they need)

$(TEST_VENV)/complete: tests/requirements.txt
	$(call environment,$(TEST_VENV),tests/requirements.txt,what the tests need)

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
