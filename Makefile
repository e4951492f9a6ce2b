# The commands this project always offers. Each makes .venv where it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint clean

demo: $(VENV)/.demo
	$(BIN)/python pipelines/demo.py --folder demo-output

test: $(VENV)/.test lint
	$(BIN)/python tests/rasteret_env.py
	$(BIN)/python -m pytest -n 2 -q

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/sample_points.py
	$(BIN)/python tests/rasteret_env.py
	$(BIN)/python tests/benchmarks/headers.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.test: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@

$(VENV)/.bench: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[test,bench]'
	touch $@

clean:
	rm -rf $(VENV) .venv-rasteret demo-output
