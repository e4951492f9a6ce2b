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
	$(BIN)/python tests/rasteret_env.py
	$(BIN)/python tests/benchmarks/sample_points.py
	$(BIN)/python tests/benchmarks/skew.py --scale 0.1
	$(BIN)/python tests/benchmarks/headers.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.test: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@

# A peer that cannot be had is left out, and the bench says so.
$(VENV)/.bench: setup.py | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[test]'
	-$(BIN)/pip install --quiet -e '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) .venv-rasteret demo-output
