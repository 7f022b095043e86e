# Everything works from a bare clone with Python 3.11+, make and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHROMIUM := $(VENV)/.chromium
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup run test evaluate report bench lint lock slow chromium

setup: $(STAMP)

$(STAMP): requirements.lock requirements.txt requirements-mcp.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Recast needs Python 3.11 or newer; name it with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) -r requirements.txt -r requirements-dev.txt
	@touch $@

# Debian and Ubuntu with root only; elsewhere the browser tests find an installed Chromium or are skipped by name.
chromium: $(CHROMIUM)
$(CHROMIUM): $(STAMP)
	@sh .ci/tools chromium || echo "Chromium is not installed: browser tests will be skipped."
	@touch $@

run: setup
	$(BIN)/python app.py

test: setup chromium
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Fixes the version and the hashes of everything that runs; needs PyPI.
lock: setup
	$(PIP) uv==0.13.9
	PATH="$(CURDIR)/$(BIN):$$PATH" sh .ci/tools lock

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

slow: setup
	$(BIN)/python -m pytest -m slow

bench: setup
	$(BIN)/python -m editor bench

evaluate: setup
	$(BIN)/python -m editor evaluate --workers 2

report: setup
	$(BIN)/python -m editor evaluate --report
