# Two commands do all set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
UV := $(BIN)/uv

# Modules are compiled once, also where the environment says otherwise: every role is a process of its own.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test times lint types contracts unit simulate crash bench bench-setup lock schemas clean

help: ## Lists the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.uv-$(UV_VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Headrace needs Python 3.11 or newer; run 'make PYTHON=python3.12 …'" >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV)/.installed: $(VENV)/.uv-$(UV_VERSION) requirements/dev.lock pyproject.toml
	@$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements/dev.lock
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.installed ## Prepares .venv; a second call costs nothing

lock: $(VENV)/.uv-$(UV_VERSION) ## Resolves requirements/*.in into the locks again
	@for name in main dev bench; do $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header requirements/$$name.in -o requirements/$$name.lock || exit 1; done

demo: setup ## Shows the main job; SERVE=1 stays up; ENGINE=cluster on a Kafka and a Flink of this machine
	@$(BIN)/python examples/support/demo.py $(if $(SERVE),--serve) $(if $(ENGINE),--engine $(ENGINE))

lint: setup
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --check --no-cache .

types: setup
	@$(BIN)/basedpyright --level error

contracts: setup
	@$(BIN)/lint-imports --no-cache

# Several processes side by side; headrace.testing.groups says which tests share one.
SIDE_BY_SIDE := -n auto --dist loadscope --no-loadscope-reorder --junitxml build/tests.xml
INNER_LOOP := not server and not slow and not kill

unit: setup
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(if $(FAST),-m "$(INNER_LOOP)")

test: setup ## Lint, types, import contracts, all tests; FAST=1 leaves out types, and tests that start servers, kill processes or are slow
	@$(MAKE) --no-print-directory -j3 lint contracts $(if $(FAST),,types)
	@$(MAKE) --no-print-directory unit

times: setup ## Shows where the last `make test` spent its time, by folder; INTO=CONTRIBUTING.md replaces the table there
	@$(BIN)/python -m headrace.testing.time_per_folder build/tests.xml $(INTO)

.venv-bench/.installed: $(VENV)/.installed requirements/bench.lock
	@echo "Setting up the benchmarks' peers in .venv-bench (once)" >&2
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@$(UV) pip sync -q --python .venv-bench/bin/python --require-hashes requirements/bench.lock
	@$(UV) pip install -q --python .venv-bench/bin/python --no-deps --no-build-isolation -e .
	@touch $@

bench: setup $(if $(ENGINE),,.venv-bench/.installed) ## Measures everything against its peers, into benchmarks/RESULTS.md (needs a quiet machine); ENGINE=cluster: what runs on Kafka and Flink
	@$(BIN)/python benchmarks/run.py $(if $(ENGINE),--engine $(ENGINE)) $(NAMES)

simulate: setup ## Runs the pipeline under seeded schedules of steps, kills, full disks and a bad teacher; SEEDS=N for another number than 100
	@$(BIN)/python -m headrace.testing.simulation $(if $(SEEDS),--seeds $(SEEDS))

crash: setup ## Kills the running job 500 times at random points; KILLS=N for another number
	@$(BIN)/python benchmarks/crash.py $(if $(KILLS),--kills $(KILLS))

schemas: setup ## Generates docs/schemas and docs/reference again
	@$(BIN)/python -m headrace.kinds.generate

clean: ## Removes everything that was made
	@rm -rf $(VENV) .venv-bench .headrace examples/*/.demo build dist src/*.egg-info
