# SPDX-License-Identifier: Apache-2.0
# Everything here needs only python3 (3.11 or newer) and make; `setup` brings the rest, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
AUDIT_VENV := .venv-audit
AUDIT_STAMP := $(AUDIT_VENV)/.setup-stamp
PIP := -m pip install -qq --disable-pip-version-check -c constraints.txt
PYTEST_OPTIONS ?=
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.NOTPARALLEL:

.PHONY: help setup demo check test test-fast test-audit-alone test-slow browser clean

help:
	@echo 'make demo              set up, then the tour: stream real speech through the shipped model'
	@echo 'make test              set up, then the fast tests, and the audit without torch'
	@echo 'make test-slow         the tests that take minutes'
	@echo 'make check             formatting, lint, types, layers, house rules'
	@echo 'make setup             only the environment, in $(VENV)'
	@echo 'make clean             remove the environments and caches'

setup: $(STAMP)

demo: $(STAMP)
	@$(BIN)/evenear demo

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest tests/test_house_rules.py $(PYTEST_OPTIONS)

test: test-audit-alone test-fast

test-fast: $(STAMP) browser
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(PYTEST_OPTIONS)

# What people use who only audit must work where torch was never installed.
test-audit-alone: $(AUDIT_STAMP)
	@! $(AUDIT_VENV)/bin/python -c 'import torch' 2>/dev/null \
	    || { echo 'torch is in $(AUDIT_VENV): the audit is not tested alone. Say: make clean'; exit 1; }
	$(AUDIT_VENV)/bin/python -m pytest tests/audit tests/metrics $(PYTEST_OPTIONS)

# torch first and pinned: so nothing that comes later can bring another build of it.
$(STAMP): pyproject.toml constraints.txt
	@PYTHON='$(PYTHON)' sh .ci/venv $(VENV)
	@echo '[2/4] torch (the largest part)'
	@$(BIN)/python $(PIP) torch
	@echo '[3/4] the libraries of evenear and of its tests'
	@$(BIN)/python $(PIP) -e '.[dev]'
	@echo '[4/4] is what is installed complete?'
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

$(AUDIT_STAMP): pyproject.toml constraints.txt
	@PYTHON='$(PYTHON)' sh .ci/venv $(AUDIT_VENV)
	@echo '[2/2] the audit, without torch'
	@$(AUDIT_VENV)/bin/python $(PIP) -e '.[audit]' pytest hypothesis jiwer
	@touch $@

# The page test drives a browser where there is one, and skips where there is none.
browser:
	@sh .ci/browser

clean:
	rm -rf $(VENV) $(AUDIT_VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
