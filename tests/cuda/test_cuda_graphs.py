"""CUDA graphs on a GPU: the predictions are those without."""

import pytest
import torch

from mmseg_faseg.models.ops.cuda_graphs import CudaGraphs, CudaRecorder
from tests.helpers.small_segmentor import MODES, build_segmentor

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
DEVICE = 'cuda'
SIZES = ((64, 96), (48, 64))


class Recorder(CudaRecorder):
    """Counts its recordings."""

    recorded = 0

    def record(self, run, device, pool):
        self.recorded += 1
        return super().record(run, device, pool)


@pytest.fixture(autouse=True)
def exact_products():
    """One choice of kernels, and no TF32, which would enlarge the difference of two choices."""
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


@pytest.fixture
def messages(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmseg_faseg.models.ops.cuda_graphs.print_log', lambda text, **_: lines.append(text)
    )
    return lines


@pytest.fixture
def pair():
    """Builds a segmentor with graphs and the same without."""

    def build(mode='whole', deformable='auto'):
        models = [
            build_segmentor(MODES[mode], **{'pixel_decoder.deformable_backend': deformable})
            for _ in range(2)
        ]
        for model in models:
            model.keep_scores = True
            model.to(DEVICE)
        models[0].graphs = CudaGraphs(recorder=Recorder())
        return models

    return build


def images(height, width, seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator).to(DEVICE)


def load_other_weights(model):
    state = {k: v * 1.1 if v.is_floating_point() else v for k, v in model.state_dict().items()}
    model.load_state_dict(state)


def assert_same(models, inputs, atol=1e-5):
    ours, expected = (
        [sample.seg_logits.data for sample in model.predict(inputs)] for model in models
    )
    for got, scores in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, scores, rtol=0, atol=atol)
        assert (got.argmax(0) == scores.argmax(0)).float().mean() > 0.999


@pytest.mark.parametrize('mode', MODES)
def test_sizes_and_windows(pair, messages, mode):
    models = pair(mode)
    for seed in range(4):
        for size in SIZES:
            assert_same(models, images(*size, seed))
    assert models[0].graphs.recorder.recorded == (2 if mode == 'whole' else 1)
    assert not messages


@pytest.mark.parametrize('deformable', ['auto', 'grid_sample', 'embedding_bag'])
def test_back_ends_of_deformable_attention(pair, messages, deformable):
    models = pair(deformable=deformable)
    for seed in range(3):
        assert_same(models, images(*SIZES[0], seed))
    assert not messages


def test_more_sizes_than_graphs(pair, messages):
    models = pair()
    models[0].graphs.max_graphs = 2
    for _ in range(2):
        for width in (32, 64, 96, 128):
            for seed in range(3):
                assert_same(models, images(64, width, seed))
    assert models[0].graphs.recorder.recorded == 8
    assert not messages


# The kernels are the same with and without; another choice of them would differ by this much.
@pytest.mark.parametrize(('dtype', 'atol'), [(torch.float16, 1e-2), (torch.bfloat16, 1e-1)])
def test_autocast(pair, messages, dtype, atol):
    models = pair()
    for seed in range(3):
        with torch.autocast(DEVICE, dtype):
            assert_same(models, images(*SIZES[0], seed), atol)
        assert_same(models, images(*SIZES[0], seed))
    with torch.autocast(DEVICE, dtype):
        for model in models:
            load_other_weights(model)
        assert_same(models, images(*SIZES[0]), atol)
    assert models[0].graphs.recorder.recorded == 2
    assert not messages


def test_inference_mode(pair, messages):
    models = pair()
    for seed in range(3):
        with torch.inference_mode():
            assert_same(models, images(*SIZES[0], seed))
        assert_same(models, images(*SIZES[0], seed))
    assert models[0].graphs.recorder.recorded == 2
    assert not messages


def test_loaded_weights(pair, messages):
    models = pair()
    for seed in range(2):
        assert_same(models, images(*SIZES[0], seed))
    for model in models:
        load_other_weights(model)
    assert_same(models, images(*SIZES[0]))
    assert models[0].graphs.recorder.recorded == 1
    assert not messages


@pytest.mark.parametrize(
    ('move', 'dtype', 'atol'),
    [
        (lambda model: model.half(), torch.float16, 1e-2),
        (lambda model: model.double(), torch.float64, 1e-9),
        (lambda model: model.to('cpu').to(DEVICE), torch.float32, 1e-5),
    ],
    ids=['half', 'double', 'there and back'],
)
def test_moved_weights(pair, messages, move, dtype, atol):
    models = pair()
    for seed in range(3):
        assert_same(models, images(*SIZES[0], seed))
    for model in models:
        move(model)
    torch.cuda.empty_cache()  # a replay that read the old weights would fail
    for seed in range(3):
        assert_same(models, images(*SIZES[0], seed).to(dtype), atol)
    assert not messages


def test_network_that_waits_for_the_gpu(pair, messages):
    models = pair()
    for model in models:
        forward = model.backbone.forward
        model.backbone.forward = lambda x, forward=forward: forward(x * x.amax().sign().item())
    for seed in range(4):
        assert_same(models, images(*SIZES[0], seed))
    assert models[0].graphs.recorder.recorded == 1
    assert len(messages) == 1
    assert 'set model.cuda_graphs=False' in messages[0]
    torch.cuda.empty_cache()
    assert torch.cuda.get_sync_debug_mode() == 0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def test_training_has_the_memory_of_the_graphs(pair):
    model, _ = pair()
    inputs = images(*SIZES[0])

    def predict_and_drop():
        model.eval()
        for _ in range(3):
            model.predict(inputs)
        used = torch.cuda.memory_allocated()
        model.train()
        return used, torch.cuda.memory_allocated()

    _, before = predict_and_drop()  # workspaces of streams stay from now on
    used, after = predict_and_drop()
    assert used > before
    assert after == before
    assert model.graphs.recorder.recorded == 2
