# FedCoin. `make help` lists what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PYTHONPATH := $(CURDIR)

.PHONY: help install demo test test-fast lint protos protos-check vectors check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(STAMP) ## create .venv and install FedCoin with all it needs, for development too

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "FedCoin needs Python 3.11 or newer: make install PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[dev,fast]"
	@touch $@

demo: $(STAMP) ## a whole network on this machine: digits, 10 clients T0..T9; writes runs/demo.json
	$(BIN)/python cmd/fedcoin localnet --miners 3 --clients 10 --types 10 --rounds 2 --dataset digits --model mlp-32 --samples 100 \
	  --budget 1000 --seed 1 --verify --report runs/demo.json

test: $(STAMP) ## all tests, with real processes too
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

test-fast: $(STAMP) ## tests that start no processes
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not functional"

lint: $(STAMP) ## style, types, layers, protocol files, length of files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd proto && ../$(BIN)/buf lint
	$(BIN)/python tools/check_length.py

protos: $(STAMP) ## generate fedcoin/v1 from proto/fedcoin/v1
	$(BIN)/python tools/gen_protos.py

protos-check: $(STAMP) ## fail if fedcoin/v1 is not what `make protos` generates
	$(BIN)/python tools/gen_protos.py --check

vectors: $(STAMP) ## write proto/vectors/*.json anew
	$(BIN)/python tools/make_vectors.py

check: lint protos-check test ## what continuous integration runs

clean: ## remove everything that is made, but not .venv
	rm -rf build dist runs *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find fedcoin tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
