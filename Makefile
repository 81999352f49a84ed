# Everything runs in one virtual environment, `.venv`, made from pyproject.toml and the exact versions in constraints.txt.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: help setup quickstart test lint check format docs drill fuzz bench bench-train bench-align mutate clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## make the virtual environment (done once; again when pyproject.toml or constraints.txt change)

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit("Bessemer needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "setup: making $(VENV) and installing the versions in constraints.txt (about 2 GB, some minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip 2>&1 | grep -v 'is ignored: it is neither' || true
	@echo "setup: installing torch, ray, mlflow and the rest"
	@set -o pipefail 2>/dev/null; $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@rm -f $(VENV)/.ready-*; touch $@
	@echo "setup: done"

quickstart: $(READY)  ## the whole way on this machine: crawl, clean, train, evaluate
	$(BIN)/bessemer run pipelines/quickstart/recipe.yaml

PROCESSES ?= 2
test: $(READY)  ## the test suite (PROCESSES=2)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

lint: $(READY)  ## format, lint, types and prose
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.plain_english

check: lint test  ## what CI runs

format: $(READY)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## write docs/reference from the code
	$(BIN)/python docs/make_reference.py

drill: $(READY)  ## kill, suspend and damage runs for about an hour: nothing is lost
	$(BIN)/python -m pytest -m drill --timeout 3600

SECONDS ?= 300
fuzz: $(READY)  ## hostile input for all readers; keeps findings as tests (SECONDS=300, TARGETS=..., SEED=N INPUTS=N to repeat)
	$(BIN)/python -m tests.fuzz $(TARGETS) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(INPUTS),--inputs $(INPUTS))

bench: $(READY)  ## the figures: ours, the peer's, the ratio
	$(BIN)/python -m tests.benchmarks

bench-train: $(READY)  ## training: speed and learning against peers, launching, saving, restarting (an hour)
	$(BIN)/python -m tests.benchmarks train learning optimizers workers launch checkpoint restart gpu

bench-align: $(READY)  ## alignment: steps, sums, generation, evaluation (TRL=PYTHON LM_EVAL=PYTHON: peers' interpreters)
	$(BIN)/python -m tests.benchmarks.bench_align $(if $(TRL),--peer $(TRL))
	$(BIN)/python -m tests.benchmarks.bench_generate
	$(BIN)/python -m tests.benchmarks.bench_evaluate $(if $(LM_EVAL),--peer $(LM_EVAL))

MUTATE ?= $(addprefix platform/bessemer/,train align model/loss.py dedup clean)
mutate: $(READY)  ## changes to the code that no test notices: hours (MUTATE=FILES, MOST=changes per file)
	$(BIN)/python -m tests.mutate $(MUTATE) $(if $(MOST),--most $(MOST))

clean:  ## remove the virtual environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
