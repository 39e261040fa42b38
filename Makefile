# Everything that is done here has a target, and each sets up what it needs: `make serve` needs python3 (3.11 or newer)
# and nothing else. Further arguments go in ARGS: make serve ARGS="--port 4444", make test ARGS="-k paging".
#
# Programs are run as modules of the environment's Python: a script's first line names its environment in full, which
# breaks when a checkout is moved, has blanks in its path or lies too deep.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

# Python keeps what it has compiled, even where it is told not to: the tests alone start hundreds of interpreters, and each
# would compile all of our modules again.
export PYTHONDONTWRITEBYTECODE =

RUN := $(VENV)/bin/python
SET_UP := $(PYTHON) tools/set_up.py --venv $(VENV)
# What mypy's configuration names, as far as it is there: it refuses the name of a folder that is not.
TYPED := $(wildcard qashier_mock contract_tests tests examples benchmarks tools)

.PHONY: help serve test lint types contract plan docs soak lowest bench develop node everything

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# `exec` puts the server in the place of the recipe's shell: make passes SIGTERM on to its child and waits for it, so the
# server ends cleanly, and make with it, whether the signal goes to make alone or to its process group.
serve: $(VENV)/.set-up-serve  ## serve the mock on http://127.0.0.1:4010 until Ctrl-C
	@exec $(RUN) -m qashier_mock serve $(ARGS)

test: everything  ## run the tests
	$(RUN) -m pytest -n auto --dist worksteal $(ARGS)

lint: node  ## formatting, lint rules, import rules, the OpenAPI documents
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -c "from importlinter.cli import lint_imports_command as main; main()"
	$(RUN) tools/lint_documents.py

types: develop  ## check the types, strictly
	$(RUN) -m mypy $(TYPED)

contract: develop  ## judge a fresh mock by the contract tests, every clause a hard one
	$(RUN) tools/contract.py $(ARGS)

plan: develop  ## measure again which driver exercises which clause
	$(RUN) tools/measure_plan.py

soak: develop  ## what takes long; QASHIER_SOAK=sample runs a short sample of each
	QASHIER_SOAK="$${QASHIER_SOAK:-full}" $(RUN) -m pytest -m soak $(ARGS)

lowest: develop  ## the tests with the oldest versions of the dependencies
	$(RUN) tools/lowest.py $(ARGS)

docs: develop  ## build the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

bench: develop  ## measure beside what people would use instead
	$(RUN) -m benchmarks $(ARGS)

$(VENV)/.set-up-serve: pyproject.toml tools/set_up.py
	@$(SET_UP) serve

develop:  ## set up the environment with everything
	@$(SET_UP) develop

node:
	@$(SET_UP) develop node

everything:
	@$(SET_UP) develop node browser shops clients
