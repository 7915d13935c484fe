# What a person types; `make help` lists it. Everything is set up on first use:
# Debian packages, a virtual environment, the build. A second run does only what
# is out of date. Meson builds the C (meson.build); this file calls it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# The interpreter: the newest one found, or `make test PYTHON=python3.12`. One
# that was named gets an environment and a build folder of its own.
PYTHON ?=
VENV := .venv$(if $(PYTHON),-$(notdir $(PYTHON)))
BUILD := build/$(if $(PYTHON),$(notdir $(PYTHON)),release)
PY := $(CURDIR)/$(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-warn-script-location
MESON := $(PY) -m mesonbuild.mesonmain
# Meson looks for ninja on PATH; the environment's comes first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Debian packages, by purpose.
BUILD_PACKAGES := gcc libc6-dev
CORE_PACKAGES := g++ clang libssl-dev pkg-config
PYTHON_PACKAGES := python3 python3-venv python3-dev
TEST_PACKAGES := ca-certificates curl netbase openssl pkg-config postgresql procps redis-server wrk
RUN_PACKAGES := ca-certificates procps wrk
BENCH_PACKAGES := $(RUN_PACKAGES) libssl-dev openssl pkg-config postgresql redis-server

.PHONY: help
help:
	@echo 'make run      a web server on yula, asyncio and uvloop under load: a table and a chart'
	@echo 'make test     all tests: C, Python, CPython'"'"'s own asyncio tests, packaging'
	@echo 'make test-libraries       the asyncio tests of AnyIO and redis-py, on yula and on asyncio'
	@echo 'make build    the extension, in place, for $(VENV)/bin/python'
	@echo 'make core     libyula and its C tests; needs no Python headers'
	@echo 'make bench    yula beside all other event loops: five minutes, build/bench.html'
	@echo 'make lint     clang-format, clang-tidy, ruff, mypy'
	@echo 'make format   what clang-format and ruff can settle by themselves'
	@echo 'make asan     all tests under the address and undefined-behaviour sanitizers'
	@echo 'make tsan     the C tests, and C beside Python, under the thread sanitizer'
	@echo 'make wheel    dist/: a source archive and a wheel'
	@echo 'make clean    remove what was built (make distclean: the environments too)'
	@echo
	@echo 'make test PYTHON=python3.12 uses another interpreter;'
	@echo 'make test-py ARGS="-k signal" hands arguments to pytest.'

# --- set-up ------------------------------------------------------------------
# A stamp in the environment says what was installed there, and for which file of
# requirements; removing the environment removes the stamps.

.PHONY: build-packages
build-packages:
	@tools/debian-packages.sh $(BUILD_PACKAGES)

$(VENV)/.stamp-tools: tools/requirements-build.txt | build-packages
	@python='$(PYTHON)'
	@if [ -z '$(PYTHON)' ] && ! tools/find-python.sh >/dev/null; then \
	    tools/debian-packages.sh $(PYTHON_PACKAGES); \
	fi
	@python='$(PYTHON)'; python=$${python:-$$(tools/find-python.sh)} || { \
	    echo 'no Python 3.11 or later with venv and headers was found' >&2; exit 1; }; \
	echo "setting up $(VENV) with $$python ($$($$python -V))"; \
	$$python -m venv $(VENV)
	@$(PIP) -r tools/requirements-build.txt
	@touch $@

$(VENV)/.stamp-test: tests/requirements.txt $(VENV)/.stamp-tools
	@echo 'installing tests/requirements.txt'
	@$(PIP) -r tests/requirements.txt
	@touch $@

$(VENV)/.stamp-bench: tools/requirements-bench.txt $(VENV)/.stamp-tools
	@echo 'installing tools/requirements-bench.txt'
	@$(PIP) -r tools/requirements-bench.txt
	@touch $@

# Not every loop has a release for every Python: what cannot be had is left out.
$(VENV)/.stamp-rivals: bench/requirements.txt $(VENV)/.stamp-bench
	@echo 'installing bench/requirements.txt'
	@sed -E 's/#.*//; s/[[:space:]]+$$//; /^$$/d' bench/requirements.txt | while read -r line; do \
	    $(PIP) --only-binary=:all: "$$line" </dev/null 2>/dev/null || echo "  not for this Python: $$line"; \
	done
	@touch $@

$(VENV)/.stamp-lint: tools/requirements-lint.txt $(VENV)/.stamp-tools
	@echo 'installing tools/requirements-lint.txt'
	@$(PIP) -r tools/requirements-lint.txt
	@touch $@

# CPython's own tests come with an interpreter built from source; Debian packages
# them apart.
.PHONY: test-packages
test-packages: $(VENV)/.stamp-tools
	@tools/debian-packages.sh $(TEST_PACKAGES)
	@tools/debian-testsuite.sh $(PY)

# --- build -------------------------------------------------------------------

.PHONY: build
build: $(VENV)/.stamp-tools
	@tools/build-in-place.sh $(PY) $(BUILD) . -Dbuildtype=release

.PHONY: core
core: build/core/build.ninja
	@ninja -C build/core --quiet

.PHONY: core-packages
core-packages:
	@tools/debian-packages.sh $(CORE_PACKAGES)

build/core/build.ninja: | $(VENV)/.stamp-tools core-packages
	@$(MESON) setup build/core -Dpython=disabled -Dchecks=true >/dev/null

.PHONY: wheel
wheel: $(VENV)/.stamp-tools
	@mkdir -p build
	@$(PY) -m build --no-isolation --outdir dist . >build/wheel.log 2>&1 || { cat build/wheel.log >&2; exit 1; }
	@ls dist

# --- test --------------------------------------------------------------------
# A shell script that starts `make test &` leaves SIGINT ignored, and so it would
# be in every process that a test wants to interrupt.
AS_IN_TERMINAL := env --default-signal=INT,QUIT

.PHONY: test test-core test-compilers test-py test-conformance
test: test-core test-compilers test-py test-conformance

test-core: core | test-packages
	@$(AS_IN_TERMINAL) $(MESON) test -C build/core --no-rebuild --print-errorlogs $(ARGS)

# The library alone, as others compile it: with gcc and with clang.
test-compilers: core-packages $(VENV)/.stamp-tools
	@tools/compilers.sh $(PY)

test-py: test-packages $(VENV)/.stamp-test build
	$(AS_IN_TERMINAL) $(PY) -m pytest tests/py $(ARGS)

test-conformance: test-packages $(VENV)/.stamp-test build
	$(AS_IN_TERMINAL) $(PY) -m pytest --quiet tests/conformance
	$(AS_IN_TERMINAL) $(PY) tests/conformance/run.py $(ARGS)

# The asyncio tests of other libraries (AnyIO, redis-py), on yula and on asyncio: fifteen minutes.
.PHONY: test-libraries
test-libraries: test-packages $(VENV)/.stamp-test build
	@$(AS_IN_TERMINAL) $(PY) tests/libraries/run.py $(ARGS)

.PHONY: asan
asan: test-packages $(VENV)/.stamp-test
	@$(AS_IN_TERMINAL) tools/asan.sh $(PY) $(ARGS)

.PHONY: tsan
tsan: test-packages $(VENV)/.stamp-test core-packages
	@$(AS_IN_TERMINAL) tools/tsan.sh $(PY) $(ARGS)

.PHONY: lint
lint: $(VENV)/.stamp-lint $(VENV)/.stamp-test
	@tools/lint.sh $(PY)

.PHONY: format
format: $(VENV)/.stamp-lint
	@$(VENV)/bin/clang-format -i $$(git ls-files '*.c' '*.h')
	@$(VENV)/bin/ruff check --quiet --fix . || true
	@$(VENV)/bin/ruff format --quiet .

# --- run ---------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.stamp-bench build
	@tools/debian-packages.sh $(RUN_PACKAGES)
	@$(PY) bench/serve.py $(ARGS)

.PHONY: bench
bench: $(VENV)/.stamp-rivals build
	@tools/debian-packages.sh $(BENCH_PACKAGES)
	@$(PY) bench/suite.py --quick --html build/bench.html --json build/bench.json $(ARGS)

# --- clean -------------------------------------------------------------------

.PHONY: clean distclean
clean:
	rm -rf build dist yula/_core*.so
	find yula tests bench tools examples -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-*
