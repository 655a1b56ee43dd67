# Queuecast: `make run` is all that is needed to try it, `make test` all that is needed to check it.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first Python that is new enough; PYTHON=… names another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Most of the tests' time is waiting for processes to start. Each file's tests share what it started, and so do
# the files of a folder if they come one after the other.
AT_ONCE := --dist loadfile --no-loadscope-reorder
# Tests are rewritten when they are loaded: once, not at each run.
export PYTHONDONTWRITEBYTECODE :=
# The peer of the bench: its libraries have other versions than ours.
MLSERVER := .venv-mlserver
LIGHT := not slow and not catboost and not torch and not postgres and not rabbitmq and not browser

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

.PHONY: run
run: $(VENV)/.installed ## run the whole service here, with example models; Ctrl-C stops it
	@exec $(BIN)/queuecast run

.PHONY: test
test: $(VENV)/.installed-dev services lint ## check lint, types, layers and all tests but the long ones (a quarter of an hour)
	@$(BIN)/python -m pytest $(AT_ONCE) -n 3 -m "not long and not catboost and not torch"
	@$(MAKE) --no-print-directory test-servers

.PHONY: test-long
test-long: $(VENV)/.installed-dev services ## run the long tests: guides, production, faults of RabbitMQ, MLflow, the bench (6 minutes)
	@$(BIN)/python -m pytest $(AT_ONCE) -n 3 -m long

# Where tests about Redis servers are: to look through all of them takes longer than to run these.
ASK_THE_SERVER := tests/workers tests/processes tests/faults/test_redis.py tests/faults/failover/test_failover.py tests/faults/failover/test_secured_failover.py \
	tests/service/test_secured.py tests/operations/test_backup.py
SERVERS := $(VENV)/redis-servers

.PHONY: test-servers
test-servers: $(VENV)/.installed-dev ## run what depends on the Redis server with the oldest, Debian's, and Valkey (1 minute)
	@sh tests/support/servers/unpack_redis_servers.sh $(SERVERS) $(BIN)/python
	@for server in $$(ls $(SERVERS)); do \
		set -- $(SERVERS)/$$server/*-server; "$$1" --version | cut -c1-30; \
		PATH="$(CURDIR)/$(SERVERS)/$$server:$$PATH" \
			$(BIN)/python -m pytest --quiet $(AT_ONCE) -n 2 -m servers $(ASK_THE_SERVER) || exit 1; \
	done

# Libraries that are too large for every run: each tier installs its own into one environment, which has the rest from
# that of the tests.
LARGE := .venv-large
EXTRA := $(BIN)/python -c 'import sys, tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*extras["optional-dependencies"][sys.argv[1]])'

.PHONY: test-catboost
test-catboost: $(LARGE)/.installed-catboost ## run the tests of the runtime catboost, whose library is large (1 minute; installs 470 MB)
	@$(LARGE)/bin/python -m pytest -n 2 -m catboost tests/registry tests/workers/hosts

# PyTorch's default build for Linux brings CUDA, gigabytes of it. TORCH names another, such as torch==2.13.0+cpu, from
# where pip finds such builds.
TORCH ?=
export TORCH
.PHONY: test-torch
test-torch: $(LARGE)/.installed-torch ## run the tests of PyTorch and transformers, which are large (4 minutes; TORCH=… names the build)
	@$(LARGE)/bin/python -m pytest -n 2 -m torch tests/registry tests/workers/hosts tests/service/workers

$(LARGE)/.installed-torch: $(VENV)/.installed-dev pyproject.toml | $(LARGE)/bin/python
	@echo "Installing PyTorch (minutes the first time) …"
	@$(LARGE)/bin/python -m pip install --quiet --disable-pip-version-check "$${TORCH:-$$($(EXTRA) torch)}" transformers
	@# The same as wheels, of which a test builds an environment.
	@$(LARGE)/bin/python -m pip download --quiet --disable-pip-version-check --only-binary :all: --dest $(LARGE)/wheels \
		"$${TORCH:-$$($(EXTRA) torch)}" transformers \
		"cloudpickle==$$($(LARGE)/bin/python -c 'import cloudpickle; print(cloudpickle.__version__)')"
	@touch $@

$(LARGE)/bin/python: | $(VENV)/.installed-dev
	@$(PYTHON) -m venv $(LARGE)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$($(LARGE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/of_the_tests.pth"

$(LARGE)/.installed-catboost: $(VENV)/.installed-dev pyproject.toml | $(LARGE)/bin/python
	@echo "Installing CatBoost (half a minute the first time) …"
	@$(LARGE)/bin/python -m pip install --quiet --disable-pip-version-check $$($(EXTRA) catboost)
	@touch $@

# What libraries and Pythons can change is in these rooms: the first run starts no service, the second does. What other
# versions only warn of is no failure.
define TEST_LIBRARIES
"$$environment/bin/python" -m pytest --quiet $(AT_ONCE) -n 2 -p no:cacheprovider -W default -m "$(LIGHT) and not slower" \
	tests/api tests/cli tests/client tests/packaging tests/registry/catalog tests/registry/database tests/workers && \
"$$environment/bin/python" -m pytest --quiet $(AT_ONCE) -n 2 -p no:cacheprovider -W default -m "$(subst not slow and,not long and,$(LIGHT))" \
	tests/service/clients/test_client.py tests/service/jobs/test_predictions.py tests/service/jobs/test_statuses.py
endef
INSTALL_ENVIRONMENT := sh tests/support/environments/install_environment.sh

.PHONY: test-dependencies
test-dependencies: $(VENV)/.installed-dev ## run part of the tests with the lowest and the newest versions of our ranges (8 minutes)
	@for resolution in lowest-direct highest; do \
		environment=.venv-$$resolution; echo "With the versions that uv calls $$resolution:"; \
		$(INSTALL_ENVIRONMENT) $$environment $(BIN)/python $(BIN)/python $$resolution && $(TEST_LIBRARIES) || exit 1; \
	done

# PYTHONS=… names others.
PYTHONS ?=
.PHONY: test-pythons
test-pythons: $(VENV)/.installed-dev ## run the same part with each other Python from 3.11 on that is here (4 minutes each)
	@for python in $${PYTHONS:-$$($(BIN)/python -m tests.support.environments.interpreters 3.11)}; do \
		environment=.venv-$$($$python -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); echo "With $$python:"; \
		$(INSTALL_ENVIRONMENT) $$environment $(BIN)/python $$python highest && $(TEST_LIBRARIES) || exit 1; \
	done

.PHONY: test-fast
test-fast: $(VENV)/.installed-dev ## run the tests that need under a minute in all
	@$(BIN)/python -m pytest $(AT_ONCE) -n 2 -m "$(LIGHT) and not slower"

.PHONY: slower-tests
slower-tests: $(VENV)/.installed-dev ## measure which tests `make test-fast` leaves out; writes tests/slower_tests.txt (2 minutes, on an idle machine)
	@$(BIN)/python -m pytest $(AT_ONCE) -n 2 -m "$(LIGHT)" --write-slower

.PHONY: lint
lint: $(VENV)/.installed-dev ## check style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: install
install: $(VENV)/.installed ## make .venv with what the service needs and nothing else

# Each wheel from its sdist, so that both hold the same.
.PHONY: dist
dist: $(VENV)/.installed-dev ## build what others install, queuecast and queuecast-client, as sdists and wheels into dist/
	@rm -rf dist
	@$(BIN)/python -m uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist
	@PYTHONPATH=.ci $(BIN)/python -m distributions.build_client dist
	@rm -f dist/.gitignore
	@ls -sh dist

.PHONY: bench
bench: $(VENV)/.installed-bench mlserver ## measure Queuecast beside tutorial Celery and MLServer; writes docs/explanation/performance.md (20 minutes)
	@$(BIN)/python -m bench --write-docs

.PHONY: bench-quick
bench-quick: $(VENV)/.installed-bench mlserver ## the most telling figures alone, as a table (under 3 minutes)
	@$(BIN)/python -m bench --quick

# Without it the bench goes on, and says so.
.PHONY: mlserver
mlserver: $(VENV)/.installed-bench ## install MLServer for the bench, in an environment of its own
	@test $(MLSERVER)/.installed -nt bench/mlserver/requirements.txt || { \
		echo "Installing MLServer into $(MLSERVER) (minutes the first time) …"; \
		rm -f $(MLSERVER)/.installed; \
		$(BIN)/python -m venv $(MLSERVER) && \
		$(MLSERVER)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/mlserver/requirements.txt && \
		$(MLSERVER)/bin/python -c 'import mlserver, mlserver_sklearn' && \
		touch $(MLSERVER)/.installed; \
	} || echo "MLServer can't be installed; the bench goes on without it." >&2

.PHONY: bench-waiting
bench-waiting: $(VENV)/.installed-bench ## measure how far off estimates of waiting times are (2 minutes)
	@$(BIN)/python bench/studies/waiting.py

# `make bench-density DENSITY="--deployments 1000 --minutes 30 --budget-mb 1024"` is a long one.
.PHONY: bench-density
bench-density: $(VENV)/.installed-bench ## serve more models than fit into memory, and measure cold starts and memory (2 minutes)
	@$(BIN)/python -W ignore -m bench.density $(DENSITY)

.PHONY: bench-scaling
bench-scaling: $(VENV)/.installed-bench ## measure how hosts follow a tenfold step of load, and what they cost (7 minutes)
	@$(BIN)/python bench/studies/scaling.py

.PHONY: bench-held
bench-held: $(VENV)/.installed-bench ## hold 10,000 requests and 5,000 event streams, and measure what they cost (2 minutes)
	@$(BIN)/python -m bench --only held --systems queuecast --rounds 1

.PHONY: bench-servers
bench-servers: $(VENV)/.installed-bench ## measure the API on several WSGI servers (minutes)
	@$(BIN)/python bench/studies/wsgi_servers.py

.PHONY: screenshots
screenshots: $(VENV)/.installed-bench ## take the pictures of the console anew, for docs/guides/console.md (needs Chromium)
	@PYTHONPATH=. $(BIN)/python tests/browser/screenshots.py

MINUTES ?= 30
.PHONY: soak
soak: $(VENV)/.installed-dev ## break a running service at random for MINUTES (30), audit every job; writes docs/soak.json
	@$(BIN)/python -m bench.soak --minutes $(MINUTES) --write-docs

.PHONY: clean
clean: ## delete the environments and all caches; data/ stays
	rm -rf $(VENV) $(MLSERVER) $(LARGE) .venv-lowest-direct .venv-highest .venv-python3.* *.egg-info build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What the tests start besides Redis: installed where that needs no question, skipped elsewhere.
.PHONY: services
services:
	@sh tests/support/servers/install_postgresql.sh
	@sh tests/support/servers/install_rabbitmq.sh
	@sh tests/support/servers/install_chromium.sh
	@sh tests/support/servers/install_proxies.sh

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none is on the PATH." >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON) …"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python's venv module is needed (Debian: apt-get install python3-venv)." >&2; exit 1; }

# Stamps: installed again only when what is required has changed.
$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the service needs (a minute the first time) …"
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need …"
	@$(PIP) --editable '.[dev,lightgbm,mlflow,onnx,otel,rabbitmq,skops,xgboost]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@echo "Installing what the bench needs …"
	@$(PIP) --editable '.[bench]'
	@touch $@
