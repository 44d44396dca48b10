# make demo       train FASeg on toy scenes, evaluate it, paint what it predicts and looks at
# make test       all tests but the nightly sweeps
# make test-fast  the tests that need neither a process, a full-size model, a compiler nor a GPU
# make test-nightly  the sweeps
# make lint       ruff
# make env        only the environment, .venv, which each of the above completes first
.PHONY: demo test test-fast test-nightly lint env

demo: env
	.venv/bin/python tools/demo.py

test: env
	.venv/bin/python -m pytest -m 'not nightly'

test-fast: env
	.venv/bin/python -m pytest -m 'not (subprocess or full_size or compile or package or nightly or cuda)'

test-nightly: env
	.venv/bin/python -m pytest -m nightly

lint: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

env:
	@tools/install.sh
