# Each target makes .venv and installs what it needs by itself.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# The demo waits for what it needs itself, not for the tools of the tests.
DEMO := .venv/.demo
# The tests' networks are too small for a second thread, so each core runs tests of its own.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL := -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz lint bench docs clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP) $(DEMO)

$(DEMO): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $(DEMO)

demo: $(DEMO) ## train, mark, ship, attack and verify a small model; writes demo/report.html
	$(BIN)/modeldeed demo --out demo

test: $(STAMP) ## run the tests with branch coverage
	$(PYTEST) $(PARALLEL) -m 'not slow and not gpu' --cov --cov-report=term:skip-covered

test-slow: $(STAMP) ## run the tests that take minutes
	$(PYTEST) -m 'slow and not gpu'

fuzz: $(STAMP) ## fuzz the readers of evidence for 5 minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=2.3'
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --seconds 300

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(STAMP) ## run every experiment in its quick setting and rebuild the results page
	$(BIN)/python -m benchmarks run all --setting quick
	$(BIN)/python -m benchmarks tables

docs: $(STAMP) ## write what is generated, and build the documentation site into site/
	$(BIN)/python -m benchmarks tables
	$(BIN)/python docs/draw_idea.py
	$(BIN)/python docs/draw_concepts.py
	$(BIN)/python docs/write_cli.py
	$(BIN)/python -c 'import material, mkdocstrings' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove the environment and generated files
	rm -rf .venv demo site .pytest_cache .mypy_cache .ruff_cache .hypothesis
