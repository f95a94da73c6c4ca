# What can be done here. Everything runs in an environment of its own, .venv, made from the
# lock in requirements/ (every package held to its hash), and made again when the lock or the
# Python changes, not otherwise.
#
#   make demo      a sample application, a backup, damage, a restore, the proof
#   make test      lint, types and the whole suite; installs the servers that it needs
#   make lint      style, types                  make format       rewrites to the style
#   make torture   the long tests                make bench        writes docs/benchmarks.md,
#                                                and bench-stream docs/benchmarks-stream.md
#   make docs      the site, in site/            make test-lowest  the oldest dependencies
#   make lock      new versions into the lock    make clean        removes what make made

PYTHON ?= python3
JOBS ?= 2
TESTS ?=
BENCH ?=

# Named after what is in it, so that a touched file does not rebuild it and a changed one does.
LOCKS := requirements/build.txt requirements/runtime.txt requirements/dev.txt
VERSION_OF_PYTHON := $(shell $(PYTHON) --version 2>&1)
DIGEST := $(shell { echo "$(VERSION_OF_PYTHON)"; cat $(LOCKS); } | sha256sum | cut -c 1-16)
RUNTIME := .venv/runtime-$(DIGEST)
DEV := .venv/dev-$(DIGEST)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Its own programs come first, so that tests and servers find them.
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest
# A file at a time, in the order of tests/conftest.py: the longest first.
BY_FILE := --dist loadfile --no-loadscope-reorder
LOCKED := $(INSTALL) --require-hashes --only-binary :all:

.PHONY: demo test lint format torture bench bench-stream docs test-lowest lock clean environment packages servers

demo: $(RUNTIME)
	@$(BIN)/litekeep demo

test: packages $(DEV) servers lint
	$(PYTEST) -n $(JOBS) $(BY_FILE) $(TESTS)

lint: $(DEV)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --quiet --fix --exit-zero .
	$(BIN)/ruff format --quiet .

torture: packages $(DEV) servers
	$(PYTEST) -m torture $(TESTS)

bench: packages $(DEV)
	$(BIN)/python -m bench $(BENCH)

bench-stream: packages $(DEV)
	$(BIN)/python -m bench.stream $(BENCH)

docs: $(DEV)
	$(BIN)/mkdocs build --strict --quiet

environment: $(DEV)

# Programs of the system that the tests use; installed where we may, else named.
packages:
	@tests/servers/packages

# Servers that come from npm; the others are in the lock.
servers: $(DEV)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/servers/install

$(RUNTIME): $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is $(VERSION_OF_PYTHON); Litekeep needs Python 3.11 or newer' >&2; \
	    echo 'hint: Name another one: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'error: $(PYTHON) cannot make an environment: it lacks venv and ensurepip' >&2; \
	    echo 'hint: On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo 'Making the environment .venv from requirements/runtime.txt'
	@$(PYTHON) -m venv --clear .venv
	@$(LOCKED) -r requirements/build.txt -r requirements/runtime.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUNTIME)
	@echo 'Adding requirements/dev.txt: tests, lint, docs (half a minute or so)'
	@$(LOCKED) -r requirements/dev.txt
	@touch $@

# The lock: one file for what runs, one for work on it, with the same versions in both. No
# address of a package index stands in them, so they hold with whatever index pip is set to.
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command 'make lock'

lock: $(DEV)
	$(COMPILE) pyproject.toml --extra all -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra all --group dev \
	  -c requirements/runtime.txt -o requirements/dev.txt
	$(COMPILE) --group build -c requirements/dev.txt -o requirements/build.txt
	cd tests/servers/npm && rm -f package-lock.json && PATH="$(CURDIR)/$(BIN):$$PATH" npm install \
	  --silent --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

# The lower bounds of pyproject.toml are claims; this tries them, outside .venv.
test-lowest: packages $(DEV) servers
	$(PYTHON) -m venv --clear .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
	  --group test --group docs --group build --editable '.[all]'
	PATH="$(CURDIR)/.venv-lowest/bin:$$PATH" .venv-lowest/bin/python -m pytest -n $(JOBS) \
	  $(BY_FILE) tests --ignore tests/bench $(TESTS)

clean:
	rm -rf .venv .venv-lowest .servers .hypothesis .mypy_cache .pytest_cache .ruff_cache site build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
