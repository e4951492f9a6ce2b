# The commands this project always offers. Each makes .venv where it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint runners template requirements clean

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

# Real engines: Prism (needs Go) and Flink (needs Java and Maven), fetched once to ~/.cache.
runners: $(VENV)/.test
	$(BIN)/python tests/engines/getting.py
	RUN_ENGINES=1 $(BIN)/python -m pytest -q -n 0 tests/engines tests/transforms/test_streaming.py \
	  tests/transforms/test_refresh_collection.py tests/transforms/test_stream_to_bigquery.py \
	  tests/pipelines/test_sample_points_streaming.py

# What is uploaded, in build/templates: IMAGES is the images' place in a registry.
template: $(VENV)/.test
	$(BIN)/python -m templates.make metadata
	$(BIN)/python -m templates.make upload $(if $(IMAGES),--images $(IMAGES))

# Pins what the templates' image holds, as of today.
requirements: $(VENV)/.test
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --output-file templates/requirements.txt \
	  setup.py templates/requirements.in

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
	rm -rf $(VENV) .venv-rasteret demo-output build
