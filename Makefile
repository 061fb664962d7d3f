# Everything a clone can do. `make run` and `make test` need nothing but Python 3.11 or later with venv.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: run test check format bench clean

run: .venv/.installed  ## make run ARGS="--port 9000"
	@exec $(BIN)/streamrouter serve $(ARGS)

test: .venv/.installed-test
	@tests/install.sh
	@$(BIN)/pytest -n 2 $(ARGS)

check: .venv/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/.installed-test
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: .venv/.installed-test
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv tests/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "streamrouter needs Python 3.11 or later; name one with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv >/dev/null \
		|| { rm -rf .venv; echo "no virtual environment could be made; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }

.venv/.installed: pyproject.toml | .venv/bin/pip
	@$(BIN)/pip install -q -e .
	@touch $@

.venv/.installed-test: pyproject.toml | .venv/bin/pip
	@$(BIN)/pip install -q -e '.[test]'
	@touch $@ .venv/.installed
