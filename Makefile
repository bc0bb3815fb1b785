# Every target makes what it needs in .venv; a second run finds it there unless pyproject.toml changed.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
export PYTHONHASHSEED ?= 0

.PHONY: help demo test test-all conformance fuzz lint format passes mutants docs clean

help:
	@echo "make demo      compile the digits example, print every level, classify on the CPU and on the GPU if there is one"
	@echo "make test      lint, format check, type check, the default test suite (no GPU needed)"
	@echo "make test-all  the slow and the GPU tests too"
	@echo "make conformance  every suite on everything that runs it: passed, failed, refused and why; goes on where it was interrupted"
	@echo "make fuzz      change files of every format, guided by coverage, ten minutes each (SECONDS=600): no fault, no traceback, no run without end"
	@echo "make lint      linter, formatter (check only), type checker"
	@echo "make format    let the linter and the formatter change files"
	@echo "make passes    the table of registered passes and how each is tested"
	@echo "make mutants   put known faults into the PTX and the source, and see that the tests catch each"
	@echo "make docs      write the reference pages from the code, and bring what the executed pages show up to date"
	@echo "make clean     remove .venv and caches"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or later was not found; name it: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[cuda]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[cuda,test]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	$(BIN)/python examples/digits/demo.py
	@echo
	@echo "The commands are in $(BIN): 'source $(BIN)/activate' puts stepwell and stepwell-opt on this shell's path."

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/python -m pytest -q -n auto

test-all: lint
	HYPOTHESIS_PROFILE=all $(BIN)/python -m pytest -q -n auto -m ''

conformance: $(VENV)/.test
	$(BIN)/python -m stepwell.testing.conformance all --journal build/conformance

SECONDS := 600

fuzz: $(VENV)/.test
	$(PIP) -e '.[fuzz]'
	$(BIN)/python -m stepwell.testing.hostile fuzz --seconds $(SECONDS)

passes: $(VENV)/.test
	$(BIN)/python -m stepwell.testing.pass_table

mutants: $(VENV)/.test
	$(BIN)/python -m stepwell.testing.mutants

docs: $(VENV)/.test
	$(BIN)/python -m stepwell.reference
	$(BIN)/python -m stepwell.testing.pages --update $(patsubst %,--file examples/digits/%,digits.onnx heldout.npz as_caffe.py as_tensorflow.py as_network.py reference.py) \
		README.md docs/ladder.md docs/tutorial/*.md

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-output
