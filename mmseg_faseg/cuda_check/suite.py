"""Step: the tests that need a GPU."""

from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..benchmark.report import table
from .settings import Settings
from .step import FAILED, FINISHED, Result, Step, run_tool

NAME = 'tests'
# pytest's exit status when all passed, and when some did not.
_RAN = (0, 1)


def suite_step(settings: Settings) -> Step:
    """Runs the tests marked ``cuda``, for a third of a call at most."""
    return Step(NAME, 'tests', 60, min(900, 20 * settings.limit), partial(_run, settings))


def _run(settings: Settings, seconds: float, steps: dict[str, Result]) -> Result:
    file = settings.out / 'tests.xml'
    file.unlink(missing_ok=True)
    arguments = ['-m', 'pytest', '-m', 'cuda', '-q', f'--junitxml={file}']
    ended, result = run_tool(settings, NAME, arguments, seconds)
    if ended.code in _RAN:
        result.pop('message', None)
        result['status'] = FINISHED if file.exists() else FAILED
    if file.exists():  # pytest writes it when it is interrupted, too
        result |= counts(file)
    return result


def counts(file: Path) -> dict[str, Any]:
    """Reads a JUnit file.

    Returns:
        ``passed`` and ``skipped``, numbers; ``failed``, names; ``reasons``, number of skipped tests
        by reason.
    """
    failed, reasons, passed = [], {}, 0
    for case in ElementTree.parse(file).iter('testcase'):
        skipped = case.find('skipped')
        if skipped is not None:
            reason = skipped.get('message', '')
            reasons[reason] = reasons.get(reason, 0) + 1
        elif case.find('failure') is not None or case.find('error') is not None:
            failed.append(f'{case.get("classname")}::{case.get("name")}')
        else:
            passed += 1
    return dict(passed=passed, failed=failed, skipped=sum(reasons.values()), reasons=reasons)


def suite_section(steps: dict[str, Result]) -> str:
    """Tests as Markdown."""
    if NAME not in steps:
        return 'Not run.\n'
    result = steps[NAME]
    if 'passed' not in result:
        return 'Not run to an end.\n'
    failed = result['failed']
    row = [str(result['passed']), str(len(failed)), str(result['skipped'])]
    lines = [table(['passed', 'failed', 'skipped'], [row])]
    if not result['passed'] + len(failed):
        lines.append('No test ran.\n')
    if result['status'] != FINISHED:
        lines.append('Interrupted: the others were not reached.\n')
    lines += [f'- failed: `{name}`\n' for name in failed]
    lines += [f'- skipped {n}: {reason}\n' for reason, n in result['reasons'].items()]
    return '\n'.join([lines[0], ''.join(lines[1:])])
