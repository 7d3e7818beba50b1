# make run    a server with a demo on it        make test   everything CI checks

SHELL := /bin/bash
PY := .venv/bin/python
READY := .venv/.ready
RUN_READY := .venv/.ready-run

.PHONY: help setup run test quick lint format hosts torture mutants soak bench screenshots dist clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo; grep -hE '^## ' $(MAKEFILE_LIST) | sed -E 's/^## //'

## Options:
##   make run DB=postgres      on a PostgreSQL of its own; else SQLite
##   make run DEMO=off         people and machines, but no customers
##   make run LINE=http        machines with a wallet's key; else over Nostr
##   make run PORT=5001        else 5000, or any that is free
##   make test ARGS="-k crash" more arguments for pytest
##   make dist URL=https://...  where dist/ will be served

setup: $(READY) ## .venv with everything pinned in requirements-dev.txt

# Called with a list of what is wanted and its size: says what it downloads and counts.
# pyenv leaves names on the path that do not run, so each one is tried.
define install
@set -eo pipefail; for python in python3.12 python3.11 python3.10 python3; do \
  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
    found="$$python"; break; \
  fi; \
done; \
if [ ! -x $(PY) ]; then \
  if [ -z "$${found:-}" ]; then \
    echo "Needs Python 3.10, 3.11 or 3.12 with venv (Debian: apt-get install python3 python3-venv)"; exit 1; \
  fi; \
  echo "Setting up .venv with $$found"; "$$found" -m venv .venv; \
fi; \
total=$$(grep -c '==' $(1)); \
echo "Looking for $$total Python packages, $(2) on the disk. What is not here yet is downloaded: some minutes, once."; \
PYTHONUNBUFFERED=1 $(PY) -m pip install --disable-pip-version-check --progress-bar off -r $(1) \
  | awk -v total="$$total" '/^(Collecting|Requirement already|Ignoring)/ { if (++n % 10 == 0 && n <= total) { printf "  %d of %d\n", n, total; fflush() } } /^Installing/ { print "  installing"; fflush() }'
endef

$(READY): requirements-dev.txt
	$(call install,requirements-dev.txt,600 MB)
	@touch $(READY)

# Whoever has everything has what running takes.
$(RUN_READY): dev/requirements-run.txt
	$(if $(wildcard $(READY)),,$(call install,dev/requirements-run.txt,280 MB))
	@touch $(RUN_READY)

run: $(RUN_READY) ## LNbits with this extension and a simulated machine, until Ctrl-C
	@$(PY) -W "ignore:XDG_RUNTIME_DIR is not set" -m dev.run $(if $(DB),--db $(DB)) $(if $(DEMO),--demo $(DEMO)) $(if $(LINE),--line $(LINE)) $(if $(PORT),--port $(PORT))

test: lint ## all tests, on SQLite and on PostgreSQL
	@$(PY) -m dev.browser
	@$(PY) -m dev.tests $(ARGS)

quick: lint ## lint, types, and the tests that need no server (two minutes)
	@$(PY) -m dev.tests --quick $(ARGS)

lint: setup ## ruff, black, prettier and mypy
	@$(PY) -m dev.lint

format: setup ## mends what lint can mend by itself
	@$(PY) -m dev.lint --fix

hosts: setup ## host/, which knows LNbits' insides, against each LNbits we support
	@$(PY) -m dev.hosts $(ARGS)

# All points take hours: SATMACHINE_TORTURE=lasting or =kinds takes fewer, and
# SATMACHINE_TORTURE_SHARD=3/8 the third of eight parts. See tests/torture.
TORTURE := $(PY) -m pytest -c tests/pytest.ini -s -q tests/torture $(ARGS)

torture: setup ## the money path killed at every point, on both databases (hours)
	@export SATMACHINE_TORTURE=$${SATMACHINE_TORTURE:-all} SATMACHINE_EXAMPLES=$${SATMACHINE_EXAMPLES:-100}; failed=0; \
	SATMACHINE_TEST_DB=sqlite $(TORTURE) || failed=1; \
	SATMACHINE_TEST_DB=postgres $(TORTURE) || failed=1; \
	$(PY) -m dev.reliability; exit $$failed

mutants: setup ## changes the money path in every small way and asks whether a test notices
	@$(PY) -W "ignore:XDG_RUNTIME_DIR is not set" -m dev.mutation $(ARGS)

soak: setup ## a day of one machine, on both databases: does memory stay flat? (an hour)
	@export SATMACHINE_SOAK_HOURS=$${SATMACHINE_SOAK_HOURS:-24}; failed=0; \
	for db in sqlite postgres; do \
	  SATMACHINE_TEST_DB=$$db $(PY) -m pytest -c tests/pytest.ini -s -q tests/torture/test_soak.py || failed=1; \
	done; exit $$failed

bench: setup ## measures against LNbits without us, on both databases
	@$(PY) -m bench $(ARGS)

screenshots: setup ## docs/screenshots, made anew
	@$(PY) -m dev.screenshots $(ARGS)

dist: setup ## the release zip and its manifest (URL=where they are served, REPO=, TAG=)
	@$(PY) -m dev.dist $(if $(URL),--url "$(URL)") $(if $(REPO),--repo "$(REPO)") $(if $(TAG),--tag "$(TAG)")

clean: ## forgets the demo's data (.data), and nothing else
	@python="$$(command -v $(PY) || command -v python3)"; "$$python" dev/clean.py
