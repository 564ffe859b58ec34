# From a bare Debian to a running PiCloud. `make help` lists what there is.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
PACKAGES := gcc libcap-dev python3-dev python3-venv
BENCH_PACKAGES := wrk nginx-light fcgiwrap lua5.4 bubblewrap
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test bench install-dependencies clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-22s %s\n", $$1, $$2}'

run: $(VENV)/ready ## install what is missing, start PiCloud here and call a first script; Ctrl-C stops it
	@exec $(VENV)/bin/picloud up --example config/examples/hello.lua

test: $(VENV)/ready-to-test ## install what is missing; lint, types and all tests
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest $(PYTEST_ARGS)

bench: $(VENV)/ready-to-test ## measure side by side with plain CGI; QUICK=1 for a short run
	@missing=$$(dpkg-query -W -f='$${Status} $${Package}\n' $(BENCH_PACKAGES) 2>&1 | grep -v '^install ok' | wc -l); \
	  [ "$$missing" = 0 ] || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $(BENCH_PACKAGES); }
	$(VENV)/bin/python -m tests.bench

install-dependencies: ## the Debian packages that building needs (apt, with sudo unless root)
	@missing=$$(dpkg-query -W -f='$${Status} $${Package}\n' $(PACKAGES) 2>&1 | grep -v '^install ok' | wc -l); \
	  [ "$$missing" = 0 ] || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $(PACKAGES); }

$(VENV)/ready: setup.cfg pyproject.toml config/constraints.txt | install-dependencies
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q -c config/constraints.txt -e .
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready
	$(VENV)/bin/pip install -q -c config/constraints.txt -e '.[test]'
	@touch $@

clean: ## remove what was built; var/, the data, stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
