# `make study` runs the built-in study, `make test` everything that is checked. Needs only Python >= 3.11 and make.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.11
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: study test test-oldest browser gpu gpu-wheels format docs clean

study: $(VENV)/.installed
	$(BIN)/manifoldscope run digits --out runs/digits

test: $(VENV)/.installed-test browser node_modules/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The same tests with the oldest supported version of everything that is installed.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest

# A browser for the tests of the report (Debian's own, where it may be installed), and what checks the report's scripts.
# Neither is needed: without them, the tests that would use them are skipped.
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing chromium"; \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 && exit 0; \
	  fi; \
	  echo "browser tests will be skipped: install chromium or google-chrome for them"

node_modules/.installed: package.json .npmrc
	@if ! command -v npm >/dev/null; then \
	  echo "the report's types and accessibility will not be checked: install Node.js with npm for that"; \
	elif npm install --silent --no-audit --no-fund; then touch $@; \
	else echo "the report's types and accessibility will not be checked: npm could not install what package.json names"; fi

# On a machine with a GPU: make gpu GPU_PYTHON=python3, with a Python that has torch, torchvision, scipy, safetensors and
# pytest. Where it has no more and no network, make gpu-wheels on a machine with one, and take .gpu-wheels along.
GPU_PYTHON ?= $(BIN)/python
GPU_VERSION ?= 3.12
gpu:
	@if [ -d .gpu-wheels ]; then \
	  $(GPU_PYTHON) -m pip install -q --no-index --no-deps --upgrade --target .gpu-packages .gpu-wheels/*.whl; fi
	PYTHONPATH=src:.:.gpu-packages $(GPU_PYTHON) -m pytest -q tests/test_gpu.py
	PYTHONPATH=src:.:.gpu-packages $(GPU_PYTHON) benchmarks/gpu.py --json gpu.json

# The oldest supported versions, which are the smallest files.
gpu-wheels:
	$(PYTHON) -m pip download -q --only-binary=:all: --python-version $(GPU_VERSION) --dest .gpu-wheels \
	  --constraint constraints-oldest.txt polars pydantic

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed
	$(BIN)/python docs/make.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing (torch is large; this takes some minutes the first time)"
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

# torchattacks pins a requests of years ago, and adv-lib a plotting client that no longer builds; nothing of them that we
# use needs either.
$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --editable '.[test]'
	$(PIP) install --constraint constraints.txt --no-deps torchattacks adv-lib
	@touch $@

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip --disable-pip-version-check -q install --constraint constraints-oldest.txt --editable '.[test]'
	$(OLDEST)/bin/python -m pip --disable-pip-version-check -q install --constraint constraints-oldest.txt --no-deps torchattacks adv-lib
	@touch $@

clean:
	rm -rf $(VENV) $(OLDEST) node_modules runs build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
