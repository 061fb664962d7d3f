# Everything a clone can do. `make run` and `make test` need nothing but Python 3.11 or later with venv.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: run test check format docs wheel binary bench bench-peers bench-docs clean

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

docs: .venv/.installed-test  ## the tables of docs/ that are made from the code
	@$(BIN)/python -m tests.reference
	@$(BIN)/python -m tests.reliability

wheel: .venv/.installed  ## dist/streamrouter-*.whl, for pip and pipx
	@rm -rf build/lib build/bdist.*
	@$(BIN)/pip wheel -q --no-deps -w dist .
	@ls -s --block-size=K dist/*.whl

binary: .venv/.installed-binary  ## dist/streamrouter, one file with Python in it
	@$(BIN)/pyinstaller --noconfirm --log-level WARN --workpath build/binary deploy/binary/streamrouter.spec
	@ls -s --block-size=K dist/streamrouter

bench: .venv/.installed  ## direct, nginx, streamrouter; make bench ARGS="--rounds 1"
	@$(BIN)/python -m benchmarks compare $(ARGS)

bench-peers: .venv/.installed  ## and TensorZero, vllm-router, Portkey, LiteLLM, each installed under .bench/
	@$(BIN)/python -m benchmarks compare --peers $(ARGS)

bench-docs: .venv/.installed  ## the rest of what docs/ shows, then its tables and chart
	@$(BIN)/python -m benchmarks memory
	@$(BIN)/python -m benchmarks start
	@$(BIN)/python -m benchmarks scale
	@$(BIN)/python -m benchmarks report --docs

clean:
	rm -rf .venv .bench tests/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

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

.venv/.installed-binary: pyproject.toml | .venv/bin/pip
	@$(BIN)/pip install -q -e '.[binary]'
	@touch $@ .venv/.installed
