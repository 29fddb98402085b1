# FedCoin. `make help` lists what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := $(VENV)/bench
BENCH_STAMP := $(BENCH)/.installed
# A folder with MNIST's four files; without it the benchmark makes up images of the same shape.
DATA_ROOT ?=
# More options of the tool that a target runs.
ARGS ?=
BENCH_RUN = $(BENCH)/bin/python tools/bench_evaluator.py $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") --plots runs/plots $(ARGS)
export PYTHONPATH := $(CURDIR)

.PHONY: help install adversaries faults demo load soak bench bench-samplers test test-fast sim fuzz lint protos protos-check vectors check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(STAMP) ## create .venv and install FedCoin with all it needs, for development too

$(STAMP): pyproject.toml setup.py $(wildcard fedcoin/learning/native/kernel*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "FedCoin needs Python 3.11 or newer: make install PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[dev,fast,ray]"
	@touch $@

demo: $(STAMP) ## a whole network on this machine: digits, 10 clients T0..T9; writes runs/demo.json
	$(BIN)/python cmd/fedcoin localnet --miners 3 --clients 10 --types 10 --rounds 2 --dataset digits --model mlp-32 --samples 100 \
	  --budget 1000 --seed 1 --verify --report runs/demo.json

load: $(STAMP) ## 250 transactions a second into 4 miners for 2 minutes, measured [ARGS=options]; writes runs/load.json, runs/load.svg
	$(BIN)/python tools/load.py --seconds 120 --rate 250 --json runs/load.json --plot runs/load.svg $(ARGS)

soak: $(STAMP) ## the same for 30 minutes at 200 a second, memory and file handles watched; writes runs/soak.json, runs/soak.svg
	$(BIN)/python tools/load.py --soak 30 --rate 200 --json runs/soak.json --plot runs/soak.svg $(ARGS)

bench: $(BENCH_STAMP) ## iterations per second against Algorithm 1, pyDVL and shapiq [DATA_ROOT=mnist folder]; writes runs/bench.json
	$(BENCH_RUN) --json runs/bench.json

bench-samplers: $(BENCH_STAMP) ## error of each sampler against iterations on W100 [ARGS=options]; writes runs/bench-samplers.json
	$(BENCH_RUN) --samplers --json runs/bench-samplers.json

# pyDVL needs an older NumPy than the rest, so the benchmark's own packages lie in an environment on top of .venv.
$(BENCH_STAMP): $(STAMP) pyproject.toml
	$(BIN)/python -m venv $(BENCH)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > "$$($(BENCH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/below.pth"
	@$(BENCH)/bin/python -m pip install --disable-pip-version-check -q -r <($(BIN)/python -c \
	  'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")') \
	  && touch $@ || echo "pyDVL, shapiq and matplotlib could not all be installed: what is missing is left out"

test: $(STAMP) ## all tests, with real processes too
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

test-fast: $(STAMP) ## tests that start no processes
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not functional"

sim: $(STAMP) ## simulated networks with faults and attackers [SEEDS=300 FIRST=0 GAINS=0], or one event by event [SEED=n]
	$(BIN)/python tools/sim.py $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),300) --first $(or $(FIRST),0) --gains $(or $(GAINS),0))

adversaries: $(STAMP) ## every attack in its long form, and what each has gained
	FEDCOIN_ADVERSARIES=long nice -n 5 $(BIN)/python -m pytest -q tests/adversaries

faults: $(STAMP) ## kill -9, stops, damaged and full disks, partitions on real processes, and what was seen [KILLS=200 SEED=1 ONLY=expression]
	$(BIN)/python tools/faults.py --kills $(or $(KILLS),200) --seed $(or $(SEED),1) $(if $(ONLY),--only "$(ONLY)")

fuzz: $(STAMP) ## state machines of ledger and chain [STEPS=1000000], malformed messages to each role [MESSAGES=1000000]
	$(BIN)/python tools/fuzz.py --steps $(or $(STEPS),1000000) --messages $(or $(MESSAGES),1000000) \
	  $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

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
