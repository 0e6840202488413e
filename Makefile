# The commands of the project; `make help` lists them. uv is used when it is there, else pip; both read requirements.lock.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONHASHSEED := 0
export PYTHONUTF8 := 1
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1

.PHONY: help
help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.lock
	@echo "== setting up $(VENV) from requirements.lock"
	python=$$(command -v $(PYTHON) || command -v python3)
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and f"Python 3.11 is needed, {sys.executable} is {sys.version.split()[0]}; name it: make PYTHON=/path/to/python3.11")'
	[ -x $(VENV)/bin/python ] || "$$python" -m venv $(VENV)
	install() { UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python -r requirements.lock; }
	command -v uv >/dev/null && install || \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	touch $@

.PHONY: setup
setup: $(VENV)/.installed  ## .venv from requirements.lock

MADE := data/conversations.jsonl data/splits models/knowledge models/adapter models/bundle
.PHONY: repro
repro: setup  ## the main job: all eight stages, promotion, the table of scores
	@python -m legalqa.params
	git rev-parse --git-dir >/dev/null 2>&1 || { echo "this folder is no git repository; DVC needs one: git init" >&2; exit 1; }
	# DVC removes what a stage made before it runs again: after a failure the last good outputs come back out of its cache
	dvc repro || { dvc checkout --quiet --allow-missing $(MADE) || true; exit 1; }
	python -m legalqa.promote promote || [ $$? -eq 3 ]  # 3: it did not win, and said so; the champion stays
	echo
	cat reports/evaluate/table.txt
	echo
	echo "reports/validate/report.html   what the raw file is like"
	echo "reports/evaluate/report.html   all answers side by side, before and after"
	echo "next: make serve (ask it on http://127.0.0.1:3000) or make ui (the runs in MLflow)"

# $(call free_port,PORT,COMMAND): stop with one line when the port is taken
define free_port
@python -c 'import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try: s.bind(("127.0.0.1", $(1)))
except OSError: sys.exit("port $(1) is taken: stop what uses it, or choose another: make $(2) PORT=$(shell expr $(1) + 1)")'
endef

.PHONY: serve
serve: PORT ?= 3000
serve: setup  ## the champion on port 3000 (PORT=...)
	$(call free_port,$(PORT),serve)
	bentoml serve --port $(PORT) --timeout-keep-alive 75

.PHONY: ui
ui: PORT ?= 5000
ui: setup  ## the MLflow UI with the runs, on port 5000 (PORT=...)
	$(call free_port,$(PORT),ui)
	uri=$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}
	case "$$uri" in
		http://*|https://*) echo "the runs are on a server: open $$uri"; exit 0;;
	esac
	echo "http://127.0.0.1:$(PORT), experiment legalqa"
	mlflow server --backend-store-uri "$$uri" --host 127.0.0.1 --port $(PORT) --workers 1

.PHONY: plan
plan: setup  ## what training will need, before anything is trained
	@python -m legalqa.training.plan

GRID ?= -S 'train.lora.r=8,16' -S 'train.learning_rate=2e-4,4e-4'
JOBS ?= 1
.PHONY: sweep
sweep: setup  ## every combination of GRID (-S key=v1,v2 ...) in a queue, JOBS at a time
	@dvc exp run --queue evaluate $(GRID)  # one that breaks a limit would fail in package and lose its scores
	dvc queue start --jobs $(JOBS)
	echo
	echo "dvc queue status, dvc queue logs NAME: how far they are    dvc exp show, make ui: results    dvc queue stop --kill: end"
	echo "dvc exp apply NAME, then make repro: package and promote the best one"

.PHONY: promote
promote: setup  ## compare the bundle with the champion; the winner is registered and served
	@python -m legalqa.promote promote

.PHONY: rollback
rollback: setup  ## the previous champion again
	@python -m legalqa.promote rollback

.PHONY: champions
champions: setup  ## who was champion when, and why
	@python -m legalqa.promote champions

.PHONY: trace
trace: setup  ## from the champion back to the rows of the raw file
	@python -m legalqa.promote trace

.PHONY: dag
dag: setup  ## draw the map
	@dvc dag

.PHONY: test
test: setup  ## all tests
	@python -m pytest --numprocesses 2 --dist loadfile

.PHONY: lint
lint: setup  ## style and types
	@ruff check
	ruff format --check
	mypy -p legalqa -p stages -p serving

.PHONY: lock
lock:  ## requirements.lock anew from pyproject.toml, without any host name
	@uv pip compile pyproject.toml --extra dev --find-links "$${PIP_FIND_LINKS:-}" --python-version 3.11 --no-header --no-annotate -q | sed 's/+cpu$$//' > requirements.lock.new
	mv requirements.lock.new requirements.lock
