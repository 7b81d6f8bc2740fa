# The commands of cozyd. `make serve` and `make test` do all set-up themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve test coverage soak bench lint requirements clean

serve: $(VENV)/run.stamp
	$(BIN)/cozyd serve --first-run alice.localhost

test: $(VENV)/dev.stamp debian-tools npm-clients
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=30 -m "not soak"

# The same with what the tests have been through, served processes included: some minutes more.
coverage: $(VENV)/dev.stamp debian-tools npm-clients
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term -m "not soak"

soak: $(VENV)/dev.stamp debian-tools npm-clients
	$(BIN)/python -m pytest -m soak -s

bench: $(VENV)/dev.stamp debian-tools
	$(BIN)/python -m benchmarks

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy cozyd blueprints dav workers tests benchmarks
	$(BIN)/lint-imports

.PHONY: debian-tools
debian-tools:
	sh scripts/install-debian.sh

# Clients from npm, where node and npm are; their tests are skipped, with that reason, where they are not.
CLIENTS := tests/clients/pouchdb tests/clients/tus tests/clients/cozy_client tests/clients/axe tests/clients/konnector
.PHONY: npm-clients
npm-clients: debian-tools
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(CLIENTS:%=%/node_modules/.package-lock.json); fi

%/node_modules/.package-lock.json: %/package-lock.json
	npm ci --prefix $* --no-audit --no-fund --silent
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/dev.stamp: requirements-dev.txt setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@ $(VENV)/run.stamp

# Pins the versions of requirements*.in, with hashes.
requirements: $(VENV)/dev.stamp
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements-dev.in -o requirements-dev.txt

clean:
	rm -rf $(VENV) $(CLIENTS:%=%/node_modules) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage*
