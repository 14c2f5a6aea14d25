# All that a developer or CI runs. A bare machine needs Python >= 3.11, make and git; everything else is fetched into
# .venv and into the user's cache folder. Nothing is ever done to a cluster that was not named on make's command line.

EFFORT ?= short
SUITE ?=
WORKERS ?= 2
WITH ?=
N ?= 1000
RUNS ?= 3
PROVIDER ?= vault
FLAGS ?=

BIN := .venv/bin
CONTROLPLANE := PYTHONPATH=tests $(BIN)/python -m controlplane
# The suites that need no cluster and take seconds.
FAST := $(wildcard tests/architecture tests/unit tests/property tests/golden tests/flow tests/crash)
# Set-up is done for exactly these inputs.
STAMP := .venv/.ready-$(shell cat pyproject.toml requirements/dev.txt | git hash-object --stdin)
PYTHON = $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
# What is made from the models, and how, below a folder.
GENERATED := crds charts/keyturn/files/crds docs/api.md docs/reasons.md docs/settings.md docs/metrics.md
generate = $(BIN)/keyturn crds --out $(1)/crds --out $(1)/charts/keyturn/files/crds --docs $(1)/docs/api.md \
	&& $(BIN)/keyturn reasons --out $(1)/docs/reasons.md && $(BIN)/keyturn settings --out $(1)/docs/settings.md \
	&& $(BIN)/keyturn metrics --out $(1)/docs/metrics.md
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/keyturn/__init__.py)

# A KUBECONFIG that merely stands in the environment names no cluster: it must be typed, `make demo KUBECONFIG=F`.
ifeq ($(origin KUBECONFIG),command line)
CLUSTER := --kubeconfig '$(KUBECONFIG)' $(if $(CONTEXT),--context '$(CONTEXT)')
else ifeq ($(WITH),kind)
CLUSTER := --kind
else ifneq ($(WITH),)
$(error WITH=$(WITH) is not known: it can be kind)
endif
unexport KUBECONFIG CONTEXT

.DEFAULT_GOAL := help
.PHONY: help setup check lint test demo run bench crds contract contract-mutants verify image lock

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 20
	@echo
	@echo '  SUITE=unit        test: one folder of tests/ alone'
	@echo '  EFFORT=full       test: the counts that the docs name instead of short ones'
	@echo '  KUBECONFIG=F      demo, run: that cluster, [CONTEXT=C] of it, instead of a control plane of our own'
	@echo '  WITH=kind         demo, run: a cluster by kind, which needs Docker'
	@echo '  FLAGS="..."       run: more flags of the operator, such as --stale-floor=5s; docs/settings.md has them all'
	@echo '  N=5000            bench: so many objects instead of 1000, and as many RUNS=1 instead of 3'
	@echo '  PROVIDER=file     bench: values in files instead of an OpenBao server'

setup: $(STAMP) ## The virtual environment .venv, by uv where there is one, else by pip

$(STAMP):
	@test -n '$(PYTHON)' || { echo 'make: needs Python 3.11 or newer in PATH, as python3 or python3.11 ... python3.14' >&2; exit 1; }
	@echo 'setup: .venv, from requirements/dev.txt'
	@set -e; if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --no-python-downloads --python '$(PYTHON)' .venv; \
		install='uv pip install --quiet --python $(BIN)/python'; \
	else \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'make: $(PYTHON) cannot make virtual environments: install python3-venv, or uv' >&2; exit 1; }; \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv; \
		install='$(BIN)/python -m pip install --quiet --disable-pip-version-check'; \
	fi; \
	$$install --require-hashes -r requirements/dev.txt; \
	$$install --no-deps --no-build-isolation --editable .
	@rm -f .venv/.ready-*
	@touch $@

check: lint ## Lint, types, layers and the tests without a cluster, in under a minute
	$(BIN)/pytest -q -n $(WORKERS) $(FAST) </dev/null

lint: setup ## The first half of check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p keyturn -p controlplane -p bench
	$(BIN)/yamllint --strict .
	$(BIN)/shellcheck .ci/run

test: setup ## Every suite; the first run builds a control plane, which takes about ten minutes
	$(if $(filter $(FAST),tests/$(SUITE)),,@$(CONTROLPLANE) build </dev/null)
	EFFORT=$(EFFORT) $(BIN)/pytest -n $(WORKERS) --dist loadfile tests/$(SUITE) </dev/null

contract: setup ## The contract suite on every provider, and docs/providers/contract-table.md from what it came to
	@$(CONTROLPLANE) build </dev/null
	CONTRACT_TABLE=1 $(BIN)/pytest -q -n $(WORKERS) tests/contract/test_contract.py </dev/null

contract-mutants: setup ## The contract suite on providers that break one promise each: it has to fail on every one
	$(BIN)/pytest -q -n $(WORKERS) tests/contract/test_mutants.py </dev/null

demo: setup ## From nothing to a Secret that follows its source, on a control plane of its own
	@$(CONTROLPLANE) demo $(CLUSTER) </dev/null

run: setup ## A control plane and the operator until Ctrl-C; prints the kubeconfig and where the metrics are
	@trap : INT; $(CONTROLPLANE) run $(CLUSTER) -- $(FLAGS) </dev/null

bench: setup ## What a thousand objects cost, beside the budget: a table, and bench.json (or BENCH_JSON); a quarter of an hour
	@$(CONTROLPLANE) build </dev/null
	@PYTHONPATH=tests $(BIN)/python -m bench run --objects '$(N)' --runs '$(RUNS)' --provider '$(PROVIDER)' </dev/null

crds: setup ## Writes crds/, the chart's copy of it, and docs/api.md, reasons.md, settings.md and metrics.md, from the code
	$(call generate,.)

verify: setup ## Fails when a generated file differs from what would be generated
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && tar -c $(GENERATED) | tar -x -C "$$fresh" && $(call generate,"$$fresh") \
		&& for each in $(GENERATED); do git --no-pager diff --no-index --exit-code "$$each" "$$fresh/$$each" \
		|| { echo 'verify: run make crds' >&2; exit 1; }; done

image: ## The image keyturn:VERSION, with docker
	docker build --tag keyturn:$(VERSION) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) .

lock: setup ## Writes requirements/ anew from pyproject.toml; needs uv
	$(BIN)/python requirements/lock.py
