# Everything a user or an engineer runs. The environment is made by the first target that needs it.

PYTHON ?= python3
VENV ?= .venv
RECORDED_FLOW ?= ../shared/data
LOCAL_CLUSTER ?= ../shared/cluster/cluster

OPERATOR_NAMESPACE ?= orderbook-system

SEEDS ?= 1000
FIRST ?= 0

IMAGE ?= orderbook:dev
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet

DETERMINISTIC := tests/unit/raft tests/unit/book tests/property tests/unit/groups/test_replicated_state.py

BIN := $(VENV)/bin
export RECORDED_FLOW LOCAL_CLUSTER IMAGE

.PHONY: demo test test-node test-cluster test-long simulate check format generate bench build image install-operator kind lock clean

## Three durable nodes, two traders, one observer; then the leader is killed.
demo: build
	$(BIN)/orderbook demo

## All tests that this machine can run; what is skipped is listed with its reason. What decides, under two hash seeds;
## what needs a Kubernetes (KUBECONFIG, and an image that its nodes have: IMAGE), one after another.
test: test-node test-cluster

test-node: build
	PYTHONHASHSEED=1 $(BIN)/pytest -n auto --ignore tests/cluster tests
	PYTHONHASHSEED=2 $(BIN)/pytest -n auto -q $(DETERMINISTIC)

test-cluster: build
	$(BIN)/pytest -m "not long" tests/cluster

## What takes too long for every change: scaling, rolls and losses on a cluster in all their variants.
test-long: build
	$(BIN)/pytest tests/cluster

## SEEDS worlds of faults on all cores: what failed, minimised, and a summary. Seeds FIRST on, if it is given.
simulate: build
	PYTHONPATH=node:tests $(BIN)/python -m simulation --seeds $(FIRST)-$$(($(FIRST) + $(SEEDS) - 1))

## Formatting, lint and types.
check: $(VENV)/installed
	$(BIN)/ruff format --check node operator tests hatch_build.py
	$(BIN)/ruff check node operator tests hatch_build.py
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff format node operator tests hatch_build.py
	$(BIN)/ruff check --fix node operator tests hatch_build.py

## The CRD of the operator, from its models; the plain manifests, from the chart (needs helm).
generate: $(VENV)/installed
	$(BIN)/python -m orderbook_operator.generate
	helm template orderbook-operator charts/orderbook-operator --namespace orderbook-system --kube-version 1.34.0 \
	  --no-hooks --set crds.install=false > k8s/operator.yaml

bench: build
	$(BIN)/orderbook bench

## The matching engine compiled in place, where there is a C compiler; the same source runs without.
build: $(VENV)/installed
	$(BIN)/python hatch_build.py

$(VENV)/installed: pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

## The image of node and operator, for whatever `docker` is here.
image:
	docker build -t $(IMAGE) .

## The operator, into the cluster that kubectl speaks to, whose nodes have IMAGE or can pull it.
install-operator:
	helm upgrade --install orderbook-operator charts/orderbook-operator --namespace $(OPERATOR_NAMESPACE) --create-namespace \
	  --set image.repository="$${IMAGE%:*}",image.tag="$${IMAGE##*:}" \
	  $(HELM_OPTIONS) --wait --timeout 5m

## A cluster of kind with the operator in it: then `kubectl apply -n orderbook-system -f k8s/orderbook.yaml`.
kind: image
	kind create cluster --config kind-config.yaml
	kind load docker-image --name orderbook $(IMAGE)
	$(MAKE) install-operator

## Both lock files anew, from pyproject.toml (needs uv).
lock:
	uv pip compile pyproject.toml $(LOCK_OPTIONS) --extra operator --extra dev -o requirements-dev.lock
	uv pip compile pyproject.toml $(LOCK_OPTIONS) --extra operator -c requirements-dev.lock -o requirements.lock

print-local-cluster:
	@echo $(LOCAL_CLUSTER)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
