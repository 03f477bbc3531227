# `make run` and `make test` need Python 3.11 or newer and nothing else: the servers come with the packages.
PYTHON ?= python3
CHROMIUM ?= chromium
VENV := .venv
# What `make run` needs is a third of it, so that comes alone.
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
# Two at a time, each with servers of its own; one, when it is given servers.
BESIDE := $(if $(DATABASE_URL)$(REDIS_URL),0,2)

help:  ## What can be said here
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

run: $(RUNS)  ## Everything on this machine: servers, gateway, a stand-in for Meta with a phone; Ctrl-C ends it
	@$(VENV)/bin/python -m tests.run

start: $(RUNS)  ## The processes of the Procfile on servers of your own: the environment, or a file .env, says which
	@$(VENV)/bin/python -m tests.start

test: $(READY)  ## The whole suite but the pages and the clients; ARGS='-k name' for less
	@$(VENV)/bin/python -m pytest -m 'not browser and not clients and not alone' -n $(BESIDE) --dist loadfile $(ARGS)
	@$(VENV)/bin/python -m pytest -m alone $(ARGS)

test-page: $(READY)  ## The phone page and the page of the API in a headless Chromium
	@command -v '$(CHROMIUM)' > /dev/null || { \
	    echo 'No Chromium here: apt-get install chromium (or CHROMIUM=/path/to/it)' >&2; exit 1; }
	@CHROMIUM='$(CHROMIUM)' $(VENV)/bin/python -m pytest tests/pages $(ARGS)

test-clients: $(READY)  ## Other people's clients of Meta's API, fetched from PyPI and npm, against the whole gateway
	@$(VENV)/bin/python -m pytest tests/clients $(ARGS)

coverage: $(READY)  ## What of service/ and workers/ the suite runs, in all processes; takes about twice its time
	@rm -f .coverage .coverage.*
	@$(VENV)/bin/python -m coverage run -m pytest -m 'not browser and not clients and not alone' -n $(BESIDE) --dist loadfile $(ARGS)
	@$(VENV)/bin/python -m coverage combine -q
	@$(VENV)/bin/python -m coverage report

lint: $(READY)  ## Ruff: rules and format; mypy: types
	@$(VENV)/bin/python -m ruff check
	@$(VENV)/bin/python -m ruff format --check
	@$(VENV)/bin/python -m mypy

bench: $(READY)  ## The figures of docs/performance.md
	@$(VENV)/bin/python -m tests.bench $(ARGS)

lock:  ## Renew the lists of packages, with their hashes, from setup.cfg
	@$(PYTHON) -m tests.lock

clean:  ## Remove what these commands made: the environment, the data of `make run`, caches
	@rm -rf $(VENV) .run .coverage .coverage.* .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNS): requirements.txt tests/requirements-run.txt
	@$(PYTHON) tests/install.py $(VENV) tests/requirements-run.txt
	@touch $@

$(READY): requirements.txt requirements-s3.txt tests/requirements-run.txt tests/requirements.txt
	@$(PYTHON) tests/install.py $(VENV) tests/requirements.txt
	@touch $(RUNS) $@

.PHONY: help run start test test-page test-clients coverage lint bench lock clean
