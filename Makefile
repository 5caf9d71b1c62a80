# Two commands: `make run` shows MarketPrism at work, `make test` proves it. `make help` lists all.
#
# Everything is kept in .venv and target, so a second call does only what changed. Packages come
# with exact versions and hashes (constraints/). Set-up writes to stderr: stdout belongs to the
# program, as in `make run ARGS="--duration 30 --json" > result.json`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test coverage web e2e pictures published simulation chaos chaos-short soak load figures wheel \
	sdist sbom release bench bench-short instructions advisories constraints clean needs-rust needs-lints
.PHONY: dashboard-cost
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Byte code is made at the first import, by whatever runs from here: most of what is installed is
# never imported. Without it every process compiles half a second and more of what it needs.
unexport PYTHONDONTWRITEBYTECODE
PINNED := $(PIP) install --no-compile --require-hashes
# maturin is found where it was installed, cargo also where rustup puts it: a shell that is older
# than that installation does not know it yet.
export PATH := $(abspath $(BIN)):$(PATH):$(HOME)/.cargo/bin
# One cache for the wheel and for clippy with the binding: both build against this Python.
export PYO3_PYTHON := $(abspath $(BIN)/python)

# Directories too: their time changes when a file is added or removed.
SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md LICENSE \
	$(shell find rust python \( -name __pycache__ -o -path '*/web/node_modules' \
		-o -path '*/web/dist' \) -prune -o ! -name '*.so' -print)

# The dashboard, where there is npm; a package without it is whole but for the page, which says so.
WEB := python/marketprism/serve/web
WEB_SOURCES := $(addprefix $(WEB)/,package.json package-lock.json build.mjs tsconfig.json) \
	$(wildcard $(WEB)/src/*)
BUILD_WEB = cd $(WEB) && npm ci --silent --ignore-scripts && npm run --silent check && \
	npm run --silent build
DASHBOARD := $(if $(shell command -v npm),$(VENV)/.web)

help: ## list the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 13

run: $(VENV)/.package ## simulated exchanges -> engine -> NATS -> ClickHouse; options in ARGS="..."
	@exec $(BIN)/marketprism-collect --demo $(ARGS)

# Three files at a time: a test waits for what it has started more than half of its time. The longest
# begin first (tests/conftest.py).
test: $(VENV)/.test $(VENV)/.package needs-lints ## lints, types, Rust and Python tests
	cargo fmt --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	cargo clippy --locked --quiet --all-targets --all-features -- -D warnings
	cargo test --locked --quiet
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: $(VENV)/.test $(VENV)/.package ## which lines of Python the tests reach; ARGS chooses tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term $(ARGS)

web: | $(BIN)/python ## the dashboard of the API, from its TypeScript (needs Node 20 and npm)
	$(BUILD_WEB)
	@touch $(VENV)/.web

# CHROMIUM names the browser; by default the one that is installed.
e2e: $(VENV)/.e2e $(VENV)/.package ## the dashboard in headless Chromium (needs chromium and npm)
	$(BIN)/python -m pytest tests/e2e/dashboard.py -p no:xdist $(ARGS)

pictures: $(VENV)/.e2e $(VENV)/.package ## every picture of docs/: the demo, the dashboard, top (minutes)
	@PYTHONPATH=tests $(BIN)/python -m e2e.session
	@PYTHONPATH=tests $(BIN)/python -m e2e.pictures

dashboard-cost: $(VENV)/.e2e $(VENV)/.package ## what an open dashboard takes of a core at 50 symbols
	@PYTHONPATH=tests $(BIN)/python -m e2e.cost $(ARGS)

published: $(VENV)/.test $(VENV)/.package ## write the JSON Schema and tables of docs/ anew
	@PYTHONPATH=python:tests $(BIN)/python -m published

# SIM_SEEDS and SIM_SEED choose among them; tests/simulation/main.rs says how.
simulation: needs-rust ## 2,000 simulated markets and disasters against every book (minutes)
	cargo test --release --locked --quiet --test simulation

# What is said in CHAOS_ONLY, CHAOS_TRIALS, CHAOS_ROWS, CHAOS_ROW_TRIALS, CHAOS_SEED, CHAOS_DIR,
# CHAOS_JOBS and CHAOS_FRESH reaches it by the environment; tests/chaos/__main__.py says what each means.
chaos-short: $(VENV)/.test $(VENV)/.package ## kill and pause every process, then judge (minutes)
	@PYTHONPATH=tests:benches $(BIN)/python -m chaos short

chaos: $(VENV)/.test $(VENV)/.package ## 299 times each, and every row of the fault matrix (hours; it resumes)
	@PYTHONPATH=tests:benches $(BIN)/python -m chaos

# SOAK_MINUTES, SOAK_EVERY, SOAK_SEED, SOAK_TRADES and SOAK_DIR; benches/soak.py says what each means.
soak: $(VENV)/.test $(VENV)/.package ## an hour with a fault a minute: how fresh, how soon again, what is lost
	@PYTHONPATH=tests $(BIN)/python benches/soak.py

# LOAD_SECONDS, LOAD_RATES, LOAD_SYMBOLS, LOAD_FRESH and LOAD_DIR; benches/capacity.py says what each means.
load: $(VENV)/.test $(VENV)/.package ## more and more until a promise breaks; costs; a model (half an hour)
	@$(BIN)/python benches/capacity.py

figures: | $(BIN)/python ## put the newest reports of chaos, soak and load on docs/figures.md
	@$(BIN)/python benches/figures.py

wheel: $(VENV)/.run $(DASHBOARD) ## one abi3 wheel for CPython 3.11 and newer, in dist
	$(BIN)/maturin build --release --locked --out dist

# The dashboard is in it, built, so whoever builds from it needs no Node.
sdist: $(VENV)/.run $(DASHBOARD) ## what wheels are built from, in dist
	@rm -f dist/*.tar.gz
	$(BIN)/maturin sdist --out dist

# What is installed beside the package; the crates within it are named in each wheel.
sbom: $(VENV)/sbom ## bill of materials of all that is installed (CycloneDX), in dist
	@mkdir -p dist
	$(VENV)/sbom/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type library \
		--output-reproducible --output-file dist/marketprism.cdx.json constraints/run.txt

release: $(VENV)/.run $(DASHBOARD) ## sdist, a wheel made of it, bill of materials, sums, in dist (minutes)
	@rm -rf dist
	@$(MAKE) sdist sbom
	MATURIN_PEP517_ARGS=--locked $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist \
		dist/*.tar.gz
	$(BIN)/python tests/releasing.py check dist

# Peers are named in pyproject.toml; benches/compare.py says how they are measured.
COMPARE = $(BIN)/python benches/compare.py --peers-python $(VENV)/peers/bin/python
INSTRUCTIONS = $(BIN)/python benches/instructions.py

# ARGS chooses among the benchmarks of the path.
bench: $(VENV)/.bench $(VENV)/peers $(VENV)/.package ## figures, ours and peers', of engine and path
	cargo bench --locked --bench engine --bench ladders --bench codecs
	$(if $(ARGS),,$(COMPARE))
	$(BIN)/python -m pytest benches -o python_files='bench_*.py' --timeout 0 $(ARGS)

bench-short: $(VENV)/.bench $(VENV)/peers $(VENV)/.package ## engine and peers, floors (minutes)
	@status=0; $(COMPARE) --short || status=1; $(INSTRUCTIONS) || status=1; exit $$status

# WRITE=1 writes the counts anew: after a change that is worth it, or with another compiler.
instructions: | $(BIN)/python ## instructions an operation (valgrind), at most 5 % above the last
	@$(INSTRUCTIONS) $(if $(WRITE),--write)

advisories: | $(BIN)/python ## known vulnerabilities of what is pinned, where they can be asked for
	@test -x $(VENV)/audit/bin/pip-audit || ($(BIN)/python -m venv $(VENV)/audit && \
		$(VENV)/audit/bin/python -m pip --quiet install 'pip-audit>=2.7,<3' >&2) || true
	@$(BIN)/python .ci/advisories.py $(VENV)/audit/bin/pip-audit

clean: ## remove what the commands above made
	rm -rf $(VENV) target dist

# --- the virtual environment -------------------------------------------------------------------

VERSION_OK := import sys; sys.exit(sys.version_info < (3, 11))
VENV_OK := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
# PYTHON=... names one; else the first that is new enough and can make a virtual environment.
PYTHONS = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
able = $(firstword $(foreach p,$(PYTHONS),$(shell $(p) -c '$($(1))' 2>/dev/null && echo $(p))))
python = $(call able,VENV_OK)

NO_PYTHON = Python 3.11 or newer is needed and none was found: install it (Debian and Ubuntu: \
apt-get install python3 python3-venv) or name one with PYTHON=/path/to/python3
NO_VENV = $(call able,VERSION_OK) cannot make a virtual environment: install its venv module \
(Debian and Ubuntu: apt-get install python3-venv)

$(BIN)/python: | needs-rust
	$(if $(python),,$(error $(if $(call able,VERSION_OK),$(NO_VENV),$(NO_PYTHON))))
	@$(python) -m venv --clear $(VENV) >&2

$(VENV)/.run: constraints/build.txt constraints/run.txt | $(BIN)/python
	@echo 'installing NATS, ClickHouse and the Python packages into $(VENV)' >&2
	@$(PINNED) -r constraints/build.txt -r constraints/run.txt >&2
	@touch $@

$(VENV)/.test: constraints/test.txt $(VENV)/.run
	@echo 'installing the test tools into $(VENV)' >&2
	@$(PINNED) -r constraints/test.txt >&2
	@touch $@

$(VENV)/.bench: constraints/bench.txt $(VENV)/.test
	@echo 'installing the benchmark tools and peers into $(VENV)' >&2
	@$(PINNED) -r constraints/bench.txt >&2
	@touch $@

# A peer that does not install is named in the table as absent; it holds up nothing.
$(VENV)/peers: constraints/peers.txt | $(BIN)/python
	@echo 'installing peers that need an environment of their own into $@' >&2
	@rm -rf $@ && $(BIN)/python -m venv $@ >&2
	@$@/bin/python -m pip --disable-pip-version-check --quiet install --no-compile \
		--require-hashes -r $< >&2 || { rm -rf $@; mkdir $@; }
	@touch $@

$(VENV)/.web: $(WEB_SOURCES) | $(BIN)/python
	@echo 'building the dashboard' >&2
	@($(BUILD_WEB)) >&2 || echo 'the dashboard was not built (see above); `make web` tries again' >&2
	@touch $@

$(VENV)/.package: $(VENV)/.run $(SOURCES) $(DASHBOARD)
	@echo 'building MarketPrism: the Rust engine takes a minute or two the first time, several on a busy machine' >&2
	@MATURIN_PEP517_ARGS=--locked $(PIP) install --no-deps --no-build-isolation . >&2
	@touch $@

$(VENV)/.e2e: constraints/e2e.txt $(VENV)/.test
	@echo 'installing Playwright into $(VENV)' >&2
	@$(PINNED) -r constraints/e2e.txt >&2
	@touch $@

# Exact versions and hashes of everything that is installed above. UPGRADE=--upgrade moves all of
# them; else only what pyproject.toml no longer allows. backports.zstd ends where Python has zstd.
COMPILE = $(VENV)/pip-tools/bin/pip-compile --quiet --no-header --no-annotate --allow-unsafe \
	--strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links $(UPGRADE) pyproject.toml

constraints: $(VENV)/pip-tools ## after pyproject.toml changed: versions and hashes (minutes)
	$(COMPILE) --build-deps-for wheel --only-build-deps -o constraints/build.txt
	$(COMPILE) --extra embedded --extra test -o constraints/test.txt
	$(COMPILE) --extra embedded -c constraints/test.txt -o constraints/run.txt
	$(COMPILE) --extra embedded --extra test --extra e2e -c constraints/test.txt -o constraints/e2e.txt
	$(COMPILE) --extra embedded --extra bench -c constraints/test.txt -o constraints/bench.txt
	$(COMPILE) --extra peers -o constraints/peers.txt
	@sed -i -e 's/^\(backports-zstd==[^ ]*\) \\/\1 ; python_version < "3.14" \\/' \
		-e '1i # Written by `make constraints`: exact versions and their hashes; not edited by hand.' \
		$(foreach n,build run test e2e bench peers,constraints/$(n).txt)

$(VENV)/pip-tools: | $(BIN)/python
	@$(BIN)/python -m venv $@ && $@/bin/python -m pip --quiet install 'pip-tools>=7.5,<8'

$(VENV)/sbom: | $(BIN)/python
	@$(BIN)/python -m venv $@ && $@/bin/python -m pip --quiet install 'cyclonedx-bom>=7,<8'

# --- the Rust toolchain ------------------------------------------------------------------------

rust_needed = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rust_found = $(word 2,$(shell cargo --version 2>/dev/null))
rust_oldest = $(firstword $(shell printf '%s\n' $(rust_needed) $(rust_found) | sort -V))
NO_RUST = Rust $(rust_needed) or newer is needed and $(if $(rust_found),cargo is $(rust_found),no \
cargo was found): install it with rustup (https://rustup.rs)
NO_LINTS = rustfmt and clippy are needed: rustup component add rustfmt clippy
NO_LINKER = Rust needs a C compiler to link and no cc was found: install one (Debian and Ubuntu: \
apt-get install build-essential)

needs-rust:
	$(if $(and $(rust_found),$(filter $(rust_needed),$(rust_oldest))),,$(error $(NO_RUST)))
	$(if $(shell command -v cc),,$(error $(NO_LINKER)))

needs-lints: needs-rust
	$(if $(shell (cargo fmt --version && cargo clippy --version) 2>/dev/null && echo both),,\
		$(error $(NO_LINTS)))
