# Two targets for a newcomer: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint package setup clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "streamtwin needs Python 3.11 to 3.13; choose one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/streamtwin validate cpu-tiny --out runs/demo

# Two workers, and a file's tests in one of them; then what times this machine, with nothing beside it.
test: setup
	@status=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not alone" || status=1; \
	$(BIN)/python -m pytest -m "alone and not slow" || status=1; \
	exit $$status

bench: setup
	$(BIN)/python -m pytest benchmarks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

package: setup
	scripts/check_package.sh $(PYTHON) $(BIN)/python

clean:
	rm -rf $(VENV) build dist
