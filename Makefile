# Everything a newcomer needs: `make demo`, `make test`. Each sets up what it needs in .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.chiron-installed
export MPLBACKEND := Agg
# One thread a test process: two processes share two cores.
PYTEST := $(BIN)/python -m pytest

.PHONY: setup demo test test-fast test-slow docs lint format index clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo       draw phantom radiographs, train two models, evaluate, write a report (about 4 minutes)"
	@echo "make test       all default tests and checks (about 12 minutes on two cores)"
	@echo "make test-fast  unit tests alone (under 2 minutes)"
	@echo "make test-slow  kill-and-resume, coverage simulations, real data (needs CHIRON_DATA or ../shared/data)"
	@echo "make docs       the site of the documentation in build/site (seconds)"
	@echo "make lint       ruff, mypy, import layers"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "Chiron needs Python 3.11, 3.12 or 3.13. Got $$($(PYTHON) --version). Call make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/chiron demo --out chiron-demo --force

test: lint $(STAMP)
	$(PYTEST) -n 2 -m "not slow and not realdata and not gpu and not network"

test-fast: $(STAMP)
	$(PYTEST) -n 2 -m "not slow and not realdata and not gpu and not network" tests/unit tests/recipes

test-slow: $(STAMP)
	$(PYTEST) -n 2 --durations=15 -m "(slow or realdata) and not gpu and not network"

# The pages are copied with README and the rest beside docs/, so that relative links hold on the site as in the repository.
docs: $(STAMP)
	rm -rf build/pages build/site
	mkdir -p build/pages/experiments
	cp -r docs README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff LICENSE build/pages
	cp experiments/LOG.md build/pages/experiments
	$(BIN)/zensical build --strict --clean
	$(BIN)/python tests/built_site.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

index: $(STAMP)
	$(BIN)/python -m chiron.models.index

clean:
	rm -rf chiron-demo build dist .cache
