# Everything starts here; each target sets up what it needs. PYTHON may name another interpreter, 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# One thread a process: two test processes with two threads each would be many times slower on two cores.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.PHONY: help setup demo test test-all check bench notebooks clean

help:
	@echo "make demo      set up, then train on handwritten digits, try synthetic ones, write a report (under 7 minutes)"
	@echo "make test      set up, then style, types and tests (under 15 minutes on 2 cores)"
	@echo "make test-all  the same with the long proofs"
	@echo "make check     style and types only"
	@echo "make notebooks runs the tutorials in notebooks/ and writes them anew with their results"
	@echo "make bench     the measurements in benchmarks/ (several hours)"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Ouvroir needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

demo: $(READY)
	@rm -rf demo
	@$(BIN)/ouvroir sample image-classification demo/digits
	@$(BIN)/ouvroir refine demo/digits --set data.per_class=15 --runs demo/runs

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(TEST_ENV) $(BIN)/pytest -q -n 2 --dist worksteal

test-all: check
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev,proofs,notebooks]'
	$(TEST_ENV) $(BIN)/pytest -q -n 2 --dist worksteal -m ''

notebooks: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev,notebooks]'
	$(BIN)/python notebooks/make.py

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev,bench]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
