# make demo       train FASeg on toy scenes, evaluate it, paint what it predicts and looks at
# make test       all tests
# make test-fast  without the slow ones
# make lint       ruff
# make env        only the environment, .venv, which each of the above completes first
.PHONY: demo test test-fast lint env

demo: env
	.venv/bin/python tools/demo.py

test: env
	.venv/bin/python -m pytest

test-fast: env
	.venv/bin/python -m pytest -m 'not slow'

lint: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

env:
	@tools/install.sh
