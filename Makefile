# From a bare Debian to a running PiCloud. `make help` lists what there is.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
PACKAGES := curl gcc libcap-dev python3-dev python3-venv
TEST_PACKAGES := $(PACKAGES) caddy libseccomp2 postgresql systemd-container
INSTALL_PACKAGES := $(filter-out curl,$(PACKAGES)) postgresql caddy
AARCH64_PACKAGES := qemu-system-arm cpio
IMAGE_PACKAGES := buildah debootstrap golang-github-containers-common runc
BENCH_PACKAGES := wrk nginx-light fcgiwrap lua5.4 bubblewrap
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(call debian,PACKAGES): have apt install those that are missing, with sudo unless we are root
debian = @for package in $(1); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q '^install ok' || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; }

.DEFAULT_GOAL := help
.PHONY: help run test lint pytest test-escapes test-chaos test-aarch64 test-image bench idle install uninstall clean packages install-packages test-packages aarch64-packages image-packages bench-packages

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/ready ## install what is missing, start PiCloud here and call a first script; Ctrl-C stops it
	@exec $(VENV)/bin/picloud up --example config/examples/hello.lua

test: lint pytest ## install what is missing; lint, types and all tests

lint: $(VENV)/ready-to-test ## ruff and mypy
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

pytest: $(VENV)/ready-to-test ## the tests alone; PYTEST_ARGS='-k router -x' narrows them
	$(VENV)/bin/pytest $(PYTEST_ARGS)

test-escapes: $(VENV)/ready-to-test ## one line for each hostile script: what it must end as, and how it ended; ESCAPES=DIR for others
	@$(VENV)/bin/python -m tests.escapes $(if $(ESCAPES),"$(ESCAPES)")

test-chaos: $(VENV)/ready-to-test ## thousands of requests while whoever answers them is killed; PICLOUD_CHAOS_SEED=N repeats the kills
	PICLOUD_CHAOS=full $(VENV)/bin/pytest -s tests/acceptance/test_chaos.py tests/acceptance/test_job_chaos.py

test-aarch64: $(VENV)/ready-to-test | aarch64-packages ## the sandbox's own tests on an emulated Raspberry Pi's processor
	PYTHON=$(VENV)/bin/python tests/aarch64/run.sh

test-image: | image-packages ## build the container image without an engine or a registry, and run it; root, some minutes
	tests/image/run.sh

bench: $(VENV)/ready-to-test | bench-packages ## measure side by side with plain CGI; QUICK=1 for a short run
	$(VENV)/bin/python -m tests.bench

install: | install-packages ## for good, on Debian: packages, users, database, Caddy, systemd; again to upgrade; ARGS='--site cloud.example.org'
	$(SUDO) /usr/bin/python3 -B -m picloud.installation.build $(ARGS)

uninstall: ## remove what `make install` brought; the data stays unless PURGE=1
	$(SUDO) /usr/bin/python3 -B -m picloud.installation.removal $(if $(filter 1,$(PURGE)),--purge)

idle: $(if $(INSTALLED),,$(VENV)/ready-to-test) ## install PiCloud on a throw-away machine and measure a minute at rest; INSTALLED=1 for the one of this machine
	@$(SUDO) $(if $(INSTALLED),picloud doctor --idle --seconds 60,$(VENV)/bin/python -m tests.systemd.idle)

clean: ## remove what was built; var/, the data, stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

packages:
	$(call debian,$(PACKAGES))

install-packages:
	$(call debian,$(INSTALL_PACKAGES))

test-packages:
	$(call debian,$(TEST_PACKAGES))

aarch64-packages:
	$(call debian,$(AARCH64_PACKAGES))

image-packages:
	$(call debian,$(IMAGE_PACKAGES))

bench-packages:
	$(call debian,$(BENCH_PACKAGES))

$(VENV)/ready: setup.cfg pyproject.toml config/constraints.txt | packages
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --use-pep517 -c config/constraints.txt -e .
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready | test-packages
	$(VENV)/bin/pip install -q --use-pep517 -c config/constraints.txt -e '.[test]'
	@touch $@
