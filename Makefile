# Everything that README quotes is made by a target of this file.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-ray check lint types format tiny-base bench-compare bench-sweep clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | column -t -s '|'

demo: $(VENV)/.installed  ## teach the embedded tiny base Chinese with NF4 QLoRA: about a minute, offline
	$(PY) -m anima_exp.train

test: $(VENV)/.installed  ## the fast tests
	$(PY) -m pytest

test-ray:  ## sweeps on a local Ray, in an environment of its own (Ray is 400 MB)
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet --editable '.[dev,ray]'
	$(VENV)-ray/bin/python -m pytest -m slow -k ray tests/sweep/test_clusters.py

check: lint types test  ## format, lint, types and the fast tests

lint: $(VENV)/.installed  ## ruff: format and rules
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

types: $(VENV)/.installed  ## mypy --strict
	$(VENV)/bin/mypy

format: $(VENV)/.installed  ## put the code into shape
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

tiny-base: $(VENV)/.installed  ## pre-train the embedded tiny base again (an hour on one core)
	$(PY) -m anima_exp.tiny.pretrain --out src/anima_exp/tiny/base

bench-compare: $(VENV)/.installed  ## seconds to compare 500 runs
	PYTHONPATH=tests/compare $(PY) tests/benchmarks/compare_runs.py

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("anima_exp needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --editable '.[dev]'
	@touch $@

bench-sweep: $(VENV)/.installed  ## what a cell of a sweep costs beside its steps, and planning a large grid
	$(PY) tests/benchmarks/sweep_overhead.py
	$(PY) tests/benchmarks/sweep_planning.py

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) $(VENV)-ray build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
