"""MMCV without its compiled operators: what needs none of them runs, what does says what to do."""

import json
import re
import sys

import mmcv.ops
import pytest
import torch

from mmseg_faseg.compat.versions import compile_command
from tests.helpers import training_step
from tests.helpers.tools import REPOSITORY, run

# Put before `import mmseg_faseg`: mmcv as mmcv-lite has it, also where the compiled one is there.
_WITHOUT_OPERATORS = """
import sys


class Without:
    def find_spec(name, path=None, target=None):
        if name == 'mmcv._ext':
            raise {error}


sys.meta_path.insert(0, Without)
import mmseg_faseg
"""
_MISSING = 'ModuleNotFoundError("No module named \'mmcv._ext\'", name=name)'
_BROKEN = 'ImportError("_ext.so: undefined symbol: _ZN3c10\\nmore", name=name)'


def _run_without_operators(code: str, tmp_path, error: str = _MISSING):
    code = _WITHOUT_OPERATORS.format(error=error) + code
    result = run(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=REPOSITORY)
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.subprocess
def test_models_train_and_predict_with_the_same_numbers(tmp_path):
    """Beside a compiled mmcv this compares the two."""
    code = 'import runpy\nrunpy.run_module("tests.helpers.training_step", run_name="__main__")'
    lines = _run_without_operators(code, tmp_path).stdout.splitlines()
    found = json.loads(lines[-1])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the other process
    try:
        expected = training_step.all_numbers()
    finally:
        torch.set_num_threads(threads)
    assert found == expected


_CALLS = """
import torch
import mmcv.ops
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from mmcv.utils.ext_loader import check_ops_exist

print(mmcv.ops.get_compiler_version(), mmcv.ops.get_compiling_cuda_version(), check_ops_exist())
x = torch.zeros(1, 1, 1, 4)
for call in (
    lambda: mmcv.ops.nms(x[0, 0], x[0, 0, :, 0], 0.5),
    lambda: MultiScaleDeformableAttnFunction.apply(x, x, x, x, x, 1),
):
    try:
        call()
    except Exception as error:
        print(f'{type(error).__name__}: {error}')
"""


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ('error', 'cause'),
    [
        (_MISSING, 'mmcv was installed without them'),
        (_BROKEN, r'mmcv was compiled for another PyTorch \(_ext.so: undefined symbol: _ZN3c10'),
    ],
    ids=['missing', 'broken'],
)
def test_a_called_operator_says_what_to_install(tmp_path, error, cause):
    result = _run_without_operators(_CALLS, tmp_path, error)
    versions, *calls = result.stdout.splitlines()[-3:]
    assert versions == 'not available not available False'
    for call, operator in zip(calls, ('nms', 'ms_deform_attn_forward'), strict=True):
        assert re.fullmatch(
            f"UserError: this model calls {operator}, one of MMCV's compiled operators, but "
            f'{cause}.*: make env MMCV=compiled, or {re.escape(compile_command())}',
            call,
        )
    assert ('going on without the operators of MMCV' in result.stderr) == (error == _BROKEN)


def test_operators_that_work_are_kept():
    if sys.modules['mmcv._ext'].__spec__.loader is None:
        pytest.skip('this is mmcv-lite')
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2.1]])
    kept = mmcv.ops.nms(boxes, torch.tensor([0.5, 0.9]), 0.5)[1]
    assert kept.tolist() == [1]
