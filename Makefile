# Two commands do all the set-up on a machine with Python 3.11 or newer: `make demo`, `make test`.
# Each makes its own virtual environment, at the locked versions, and only if it is not there.
# `make test` also installs programs that tests use, or names them (requirements/system).

DEMO := .venv
TEST := .venv-test
LOCK := .venv-lock
PREFIX ?= $(HOME)/.local
TRAIN := .venv-train
RELEASE := .venv-release
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
CODE := pipeguard tests benchmarks training
# Tests run on Debian 12's Python, where it is installed: no verdict may depend on the errors of its
# `re` (gh-106052). Looked for when needed, because `make test` may install it first.
DEBIAN_12 := Python 3.11.2
DEBIAN_PYTHON = $(shell [ "$$(/usr/bin/python3 -V 2>&1)" = "$(DEBIAN_12)" ] && echo /usr/bin/python3)
NEWEST_PYTHON := python3.14 python3.13 python3.12 python3.11 python3 python
# A file stays together, for its fixtures; in their own order, else the few long tests come last.
SPREAD := --numprocesses auto --dist loadfile --no-loadscope-reorder
# Without the slow ones, and with a fifth of the examples of each property: `test` has a quarter of them,
# `exhaustive` all.
CORE := --numprocesses auto --dist worksteal -m 'not slow and not clients and not exhaustive'
# Tests of files rather than of what PipeGuard does: beside types, and not once more behind them.
REPOSITORY := tests/benchmarks tests/packaging/test_files.py $(addsuffix .py,$(addprefix tests/test_,\
	bars credentials docs each layers public_names repository snapshot training training_apis \
	words))
# What classifiers read as no order to a model, of what is installed (training/README.md).
NATURAL ?= $(TRAIN)/lib $(wildcard /usr/share/doc /usr/share/man /usr/share/gimp/2.0/help \
	/usr/lib/libreoffice/help /usr/share/libreoffice/help tests/node_modules)
# PIPEGUARD_NATIVE: as where a C compiler is, so without numpy, which has a lock of its own.
COMPILE := PIPEGUARD_NATIVE=1 $(LOCK)/$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-strip-extras --no-emit-index-url --no-annotate --no-header --upgrade

export PYTHON
# Else each process compiles pytest and hypothesis anew, before tests/conftest.py is read.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo install uninstall environment check test exhaustive coverage clients image snapshots pictures lint types repository bench docs
.PHONY: opener ranker model network lock release clean
.PHONY: checked tools compiled demo-environment test-environment train-environment release-environment

help: ## Show this
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: demo-environment ## Play the demonstration: needs no network once it is installed
	@$(DEMO)/$(BIN)/pipeguard demo $(ARGS)

install: ## Install it for you, to stay: ~/.local/bin/pipeguard (PREFIX for another place, EXTRA=desktop, fleet, oauth, otel, all, or oauth,otel)
	@sh requirements/environment "$(PREFIX)/share/pipeguard" "$(or $(EXTRA),base)" copy
	@mkdir -p "$(PREFIX)/bin"
	@ln -sf "$(PREFIX)/share/pipeguard/bin/pipeguard" "$(PREFIX)/bin/pipeguard"
	@case ":$$PATH:" in \
	*":$(PREFIX)/bin:"*) echo "Installed: pipeguard. Next, run: pipeguard setup" ;; \
	*) echo "Installed, but $(PREFIX)/bin is not on your PATH. Add it: export PATH=\"$(PREFIX)/bin:\$$PATH\". Next, run: '$(PREFIX)/bin/pipeguard' setup" ;; \
	esac

uninstall: ## Remove what `make install` installed; not while a client starts servers with it
	@sh requirements/uninstall "$(PREFIX)" "$(FORCE)"

environment: test-environment ## Only make the environment of the tests, .venv-test

check: test-environment ## Run lint, types, and the detection and firewall tests; the first time it takes minutes
	@$(MAKE) --no-print-directory --jobs=2 lint types compiled
	PIPEGUARD_FUZZ_FACTOR=0.2 $(TEST)/$(BIN)/python -m pytest $(CORE) tests/unicode tests/firewall tests/detect $(ARGS)

test: ## Run everything that must hold: lint, types, and all tests
	@(while sleep 25 >/dev/null && kill -0 $$$$; do echo "... $$(date +%T), installing and checking"; done) & \
	trap "kill $$!" EXIT; \
	PYTHON="$(or $(PYTHON),$(DEBIAN_PYTHON))" sh requirements/system && \
	$(MAKE) --no-print-directory --jobs=2 checked
	PIPEGUARD_FUZZ_FACTOR=0.25 $(TEST)/$(BIN)/python -m pytest $(SPREAD) $(REPOSITORY:%=--ignore=%) $(ARGS)

checked: repository lint types tools compiled
	@[ -z "$$PIPEGUARD_CI" ] || [ "$$($(TEST)/$(BIN)/python -V)" = "$(DEBIAN_12)" ] || \
	{ echo "The gate is $(DEBIAN_12), that of Debian 12, for the errors of its re"; exit 1; }

exhaustive: test-environment ## Run all tests, in every variant of which `test` runs one: twice as long
	$(TEST)/$(BIN)/python -m pytest $(SPREAD) -m 'not clients and not engine' $(ARGS)

coverage: test-environment ## Run all tests, and list the lines that none of them reaches: twice as long
	$(TEST)/$(BIN)/python -m pytest $(SPREAD) --cov --cov-report=term:skip-covered $(ARGS)

clients: test-environment ## Try setup with real MCP clients: downloads 1.4 GB from npm the first time
	$(TEST)/$(BIN)/python -m pytest -m clients tests/clients/test_real.py $(ARGS)

image: test-environment ## Build and start the image with docker or podman: downloads its bases the first time
	$(TEST)/$(BIN)/python -m pytest -m engine tests/packaging/test_image.py $(ARGS)

snapshots: test-environment ## Regenerate tests/snapshots, what commands show: then read `git diff`
	PIPEGUARD_SNAPSHOTS=write $(TEST)/$(BIN)/python -m pytest --quiet $(or $(ARGS),tests)
	$(TEST)/$(BIN)/python -m pytest --quiet tests/test_snapshot.py

pictures: test-environment ## Draw the pictures of docs/ui.md anew, in a run of the page
	PIPEGUARD_PICTURES=write $(TEST)/$(BIN)/python -m pytest --quiet tests/ui/test_decisions.py

lint: test-environment ## Check rules of style and format
	$(TEST)/$(BIN)/ruff check .
	$(TEST)/$(BIN)/ruff format --check .

types: test-environment ## Check types
	$(TEST)/$(BIN)/mypy

repository: test-environment ## Check names, layers, sizes, pages, locks, benchmarks and training
	$(TEST)/$(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile $(REPOSITORY)

tools: test-environment
	@$(TEST)/$(BIN)/python -m tests.tools

compiled: test-environment ## Compile the rules that changed, for which the tests would wait
	@XDG_CACHE_HOME="$(CURDIR)/.tools/cache" XDG_CONFIG_HOME="$(CURDIR)/.tools/none" $(TEST)/$(BIN)/python -c \
		"from pipeguard.runtime.progress import wait_for_engines; wait_for_engines()"

bench: test-environment ## Measure what a guarded frame and each database cost, and write docs/performance.md; options in ARGS
	@mkdir -p build
	$(TEST)/$(BIN)/python -m benchmarks.frames --json build/frames.json --page docs/performance.md $(ARGS)
	@$(if $(filter --help,$(ARGS)),,$(TEST)/$(BIN)/python -m benchmarks.rules --databases)

docs: test-environment ## Build the site of the docs, build/site; its search needs: python3 -m http.server -d build/site
	$(TEST)/$(BIN)/python docs/pages.py build/pages
	NO_MKDOCS_2_WARNING=1 $(TEST)/$(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html"

opener: train-environment ## Train the openers from the texts and the documents of projects in DOCUMENTS
	$(TRAIN)/$(BIN)/python -m training.opener injection $(DOCUMENTS:%=--documents %)
	$(TRAIN)/$(BIN)/python -m training.opener poisoning --share 0.6 $(DOCUMENTS:%=--documents %)

ranker: train-environment ## Train what ranks what the openers open, from the same and from SERVED
	$(TRAIN)/$(BIN)/python -m training.ranker injection $(DOCUMENTS:%=--documents %)
	$(TRAIN)/$(BIN)/python -m training.ranker poisoning $(SERVED:%=--served %)

model: train-environment ## Train the classifiers from the texts and the folders in NATURAL: minutes
	$(TRAIN)/$(BIN)/python -m training.train injection $(NATURAL:%=--natural %)
	$(TRAIN)/$(BIN)/python -m training.train poisoning $(NATURAL:%=--natural %) $(SERVED:%=--served %)

network: train-environment ## Train the network behind both classifiers: an hour
	$(TRAIN)/$(BIN)/python -m training.network $(NATURAL:%=--natural %) $(SERVED:%=--served %) $(LABELS:%=--labels %)

release: ## Build sdist and wheel of the last commit, check them, and try each without a compiler
	@if [ -n "$$(git status --porcelain)" ]; then \
		echo "A release is built from a commit. Commit these first, or run: git stash -u"; git status --short; exit 1; \
	fi >&2
	@$(MAKE) --no-print-directory release-environment
	$(RELEASE)/$(BIN)/python packaging/release.py

lock: ## Renew requirements/*.txt and the locks of the tests' servers: the only step that selects versions
	@sh requirements/environment $(LOCK) lock
	$(COMPILE) pyproject.toml -o requirements/base.txt
	$(COMPILE) pyproject.toml --extra all -c requirements/base.txt -o requirements/all.txt
	$(COMPILE) pyproject.toml --extra desktop -c requirements/all.txt -o requirements/desktop.txt
	$(COMPILE) pyproject.toml --extra fleet -c requirements/all.txt -o requirements/fleet.txt
	$(COMPILE) pyproject.toml --extra oauth -c requirements/all.txt -o requirements/oauth.txt
	$(COMPILE) pyproject.toml --extra otel -c requirements/all.txt -o requirements/otel.txt
	$(COMPILE) pyproject.toml --extra all --extra test -c requirements/all.txt -o requirements/test.txt
	$(COMPILE) pyproject.toml requirements/train.in -c requirements/base.txt -o requirements/train.txt
	$(COMPILE) pyproject.toml requirements/release.in -c requirements/base.txt -o requirements/release.txt
	$(COMPILE) requirements/numpy.in -c requirements/test.txt -o requirements/numpy.txt
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) requirements/lock.in -o requirements/lock.txt
	$(COMPILE) tests/requirements-servers.in -o tests/requirements-servers.txt
	$(COMPILE) tests/requirements-servers-1.in -o tests/requirements-servers-1.txt
	$(COMPILE) benchmarks/search/requirements.in -o benchmarks/search/requirements.txt

clean: ## Remove the environments, caches and reports
	rm -rf $(DEMO) $(TEST) $(LOCK) $(TRAIN) $(RELEASE) .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf build dist htmlcov .coverage .coverage.*
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

demo-environment:
	@sh requirements/environment $(DEMO) base

test-environment:
	@PYTHON="$(or $(PYTHON),$(DEBIAN_PYTHON:%=% $(NEWEST_PYTHON)))" sh requirements/environment $(TEST) test

train-environment:
	@sh requirements/environment $(TRAIN) train

release-environment:
	@sh requirements/environment $(RELEASE) release
