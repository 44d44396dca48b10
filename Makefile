# make demo       train FASeg on toy scenes, evaluate it, paint what it predicts and looks at
# make demo-panoptic  the same with segments: instances of things, and stuff
# make test       all tests but the nightly sweeps
# make test-fast  the tests without processes, full-size models, compilers, GPUs and browsers
# make test-nightly  the sweeps
# make lint       ruff and mypy
# make docs       pages below site/, with every broken link an error
# make compat     the tests of noxfile.py with either stack and several torch, in docs/compatibility.md
# make audit      asks pip-audit about what .venv has, but for tools/audit.txt
# make env        only the environment, .venv, which each of the above completes first
#                 (MMCV=compiled: with the compiled operators of mmcv; STACK=onedl: with the fork)
#
# Tests run in JOBS processes of one thread each.
JOBS ?= 2
PYTEST = .venv/bin/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: demo demo-panoptic test test-fast test-nightly lint docs compat audit env

demo: env
	.venv/bin/python tools/demo.py

demo-panoptic: env
	.venv/bin/python tools/demo.py --config mmseg_faseg::faseg_toy-panoptic.py --iters 400

test: env
	$(PYTEST) -m 'not nightly'

test-fast: env
	$(PYTEST) -m 'not (subprocess or full_size or compile or package or nightly or cuda or browser)'

test-nightly: env
	$(PYTEST) -m nightly

lint: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: env
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet

compat: env
	.venv/bin/nox -s compat

audit: env
	.venv/bin/nox -s audit

env:
	@tools/install.sh
