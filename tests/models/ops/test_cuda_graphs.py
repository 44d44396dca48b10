"""CUDA graphs change the time that a network takes, and nothing else.

Without a GPU a stand-in records: like a CUDA graph its replay reads and writes the tensors that
were there when it was recorded, the weights among them.
"""

import copy
import pickle
import weakref
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_faseg.models.ops.cuda_graphs import CudaGraphs, CudaRecorder
from tests.helpers.small_head import head_config
from tests.helpers.small_segmentor import BACKBONE, MODES, build_segmentor


class Recorder:
    """Records on a CPU, of one module.

    ``kept`` holds all graphs that are alive, ``pools`` what each recording was given to share.
    """

    device_type = 'cpu'

    def __init__(self, module=None):
        self.module, self.busy, self.error = module, False, None
        self.pools, self.kept, self.replays = [], weakref.WeakSet(), 0

    def is_recording(self):
        return self.busy

    def record(self, run, device, pool):
        self.pools.append(pool)
        if self.error is not None:
            raise self.error
        graph = Graph(self, run, object() if pool is None else pool)
        self.kept.add(graph)
        return graph, graph.outputs


class Graph:
    def __init__(self, recorder, run, pool):
        self.recorder, self.run, self._pool = recorder, run, pool
        self.weights = {name: x.data for name, x in self.named_tensors()}
        self.outputs = [x.clone() for x in run()]

    def named_tensors(self):
        yield from self.recorder.module.named_parameters()
        yield from self.recorder.module.named_buffers()

    def pool(self):
        return self._pool

    def replay(self):
        self.recorder.replays += 1
        now = {name: x.data for name, x in self.named_tensors()}
        for name, x in self.named_tensors():
            x.data = self.weights[name]
        for output, value in zip(self.outputs, self.run(), strict=True):
            output.copy_(value)
        for name, x in self.named_tensors():
            x.data = now[name]


class Network(nn.Module):
    """Two outputs, weights and a buffer; notes for each run whether autocast keeps its casts."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.dropout = nn.Dropout(1.0)  # in training nothing is left
        self.register_buffer('shift', torch.ones(4))
        self.cached_casts = []

    def forward(self, x):
        self.cached_casts.append(torch.is_autocast_cache_enabled())
        y = self.dropout(self.linear(x.to(self.shift.dtype)))
        return y + self.shift, y.softmax(-1)[..., :-1]


@pytest.fixture
def messages(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmseg_faseg.models.ops.cuda_graphs.print_log', lambda text, **_: lines.append(text)
    )
    return lines


@pytest.fixture
def make():
    def make(**options):
        torch.manual_seed(0)
        network = Network().eval()
        recorder = Recorder(network)
        graphs = CudaGraphs(recorder=recorder, **options)

        def check(x):
            """Runs with graphs; the outputs must be those without."""
            with torch.no_grad():
                outputs = graphs(network, network.forward, x)
                for got, expected in zip(outputs, network(x), strict=True):
                    assert got.dtype == expected.dtype
                    torch.testing.assert_close(got, expected, rtol=0, atol=0)
            return outputs

        return SimpleNamespace(network=network, recorder=recorder, graphs=graphs, check=check)

    return make


def images(size=2, **options):
    return torch.randn(1, size, 3, **options)


def test_a_kind_is_recorded_when_it_comes_again_then_replayed(make):
    it = make()
    for _ in range(5):
        it.check(images())
    assert len(it.recorder.pools) == 1
    assert it.recorder.replays == 4


def test_sizes_that_come_once_are_never_recorded(make):
    it = make(max_graphs=2)
    for size in range(1, 50):
        it.check(images(size))
    assert not it.recorder.pools
    it.check(images(3))  # however many came since
    assert len(it.recorder.pools) == 1


def test_outputs_outlive_the_next_replay(make):
    it = make()
    for _ in range(2):
        it.check(images())
    x = [images() for _ in range(3)]
    kept = [it.check(image) for image in x]
    assert it.recorder.replays == 4
    for image, outputs in zip(x, kept, strict=True):
        for got, expected in zip(outputs, it.network(image), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_the_graph_unused_longest_makes_room(make):
    it = make(max_graphs=2)
    for size in (1, 1, 2, 2, 1, 3, 3):
        it.check(images(size))
    assert len(it.recorder.kept) == 2
    assert len(it.recorder.pools) == 3
    it.check(images(1))
    assert it.recorder.replays == 5
    it.check(images(2))  # dropped: has to come twice again
    assert len(it.recorder.pools) == 3
    it.check(images(2))
    assert len(it.recorder.pools) == 4


def test_graphs_share_the_pool_of_one_that_is_alive(make):
    it = make(max_graphs=1)
    for size in (1, 1, 2, 2, 3, 3):
        it.check(images(size))
    first, second, third = it.recorder.pools
    assert first is None
    assert second is not None
    assert third is second
    it.graphs.clear()
    assert not it.recorder.kept
    for _ in range(2):
        it.check(images(1))
    assert it.recorder.pools[-1] is None


KINDS = {
    'type': lambda: (images(dtype=torch.float64), torch.no_grad()),
    'autocast': lambda: (images(), torch.autocast('cpu', torch.bfloat16)),
    'type of autocast': lambda: (images(), torch.autocast('cpu', torch.float16)),
    'inference mode': lambda: (images(), torch.inference_mode()),
    'batch': lambda: (images().repeat(2, 1, 1), torch.no_grad()),
    'TF32': lambda: (images(), float32_products('high')),
}


class float32_products:  # noqa: N801  a context manager
    def __init__(self, precision):
        self.precision = precision

    def __enter__(self):
        self.before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)

    def __exit__(self, *_):
        torch.set_float32_matmul_precision(self.before)


@pytest.mark.parametrize('kind', KINDS)
def test_kinds_have_graphs_of_their_own(make, kind):
    it = make()
    with torch.autocast('cpu', torch.bfloat16) if 'type of' in kind else torch.no_grad():
        for _ in range(2):
            it.check(images())
    for _ in range(3):
        x, context = KINDS[kind]()
        with context:
            it.check(x)
    assert len(it.recorder.pools) == 2
    assert it.recorder.replays == 3


def test_no_cast_of_old_weights_is_recorded(make):
    it = make()
    with torch.autocast('cpu', torch.bfloat16):
        it.check(images())
        it.network.cached_casts.clear()
        it.check(images())
        assert it.network.cached_casts == [False, False, True]  # recorded, replayed, without


def test_weights_changed_in_place_need_no_new_graph(make):
    it = make()
    for _ in range(2):
        it.check(images())
    it.network.load_state_dict({k: v + 1 for k, v in it.network.state_dict().items()})
    it.check(images())
    it.network.linear.bias.data.mul_(3)
    it.check(images())
    assert len(it.recorder.pools) == 1


MOVES = {
    'replaced parameter': lambda net: setattr(
        net.linear, 'weight', nn.Parameter(torch.randn(4, 3), requires_grad=False)
    ),
    'replaced module': lambda net: setattr(net, 'linear', nn.Linear(3, 4)),
    'replaced data': lambda net: setattr(net.linear.bias, 'data', torch.randn(4)),
    'replaced buffer': lambda net: setattr(net, 'shift', torch.randn(4)),
    'assigned state': lambda net: net.load_state_dict(
        {k: v + 1 for k, v in net.state_dict().items()}, assign=True
    ),
    'other type': lambda net: net.double(),
    'half': lambda net: net.half(),
}


@pytest.mark.parametrize('move', MOVES)
def test_weights_that_moved_are_recorded_anew(make, move):
    it = make()
    for _ in range(3):
        it.check(images())
    MOVES[move](it.network)
    it.network.eval()
    it.check(images())
    assert not it.recorder.kept
    for _ in range(2):
        it.check(images())
    assert len(it.recorder.pools) == 2


def test_weights_that_move_all_the_time_are_never_recorded(make):
    it = make()
    for _ in range(5):
        it.network.linear.weight = nn.Parameter(torch.randn(4, 3))
        it.check(images())
    assert not it.recorder.pools


def busy(it):
    it.recorder.busy = True


@pytest.mark.parametrize(
    'change',
    [
        lambda it: it.network.train(),
        lambda it: it.network.dropout.train(),
        busy,
    ],
    ids=['training', 'a part in training', 'recorded by somebody else'],
)
def test_no_graphs_while(make, change):
    it = make()
    for _ in range(2):
        it.check(images())
    change(it)
    for size in (2, 2, 4, 4):
        it.check(images(size))
    assert len(it.recorder.pools) == 1


def test_gradients_flow(make):
    it = make()
    for _ in range(2):
        it.check(images())
    x = images().requires_grad_()
    it.graphs(it.network, it.network.forward, x)[0].sum().backward()
    assert x.grad is not None
    assert it.recorder.replays == 1


@pytest.mark.parametrize(
    'kind', [pytest.param('compile', marks=pytest.mark.compile), 'export', 'trace']
)
def test_compilers_and_exporters_see_the_network(make, kind):
    it = make()
    for _ in range(2):
        it.check(images())
    it.network.cached_casts = None
    it.network.forward = lambda x: (it.network.linear(x),)

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = it.network

        def forward(self, x):
            return it.graphs(self.network, self.network.forward, x)[0]

    x = images()
    with torch.no_grad():
        if kind == 'compile':
            function = torch.compile(Wrapper(), backend='eager', fullgraph=True)
        elif kind == 'export':
            function = torch.export.export(Wrapper(), (x,), strict=False).module()
        else:
            function = torch.jit.trace(Wrapper(), (x,), check_trace=False)
        torch.testing.assert_close(function(x), it.network.linear(x))
    assert it.recorder.replays == len(it.recorder.pools) == 1


def test_fake_tensors_are_not_recorded(make):
    it = make()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        for _ in range(3):
            assert it.graphs(it.network, it.network.forward, images())[0].shape == (1, 2, 4)
    assert not it.recorder.pools


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_no_graphs(make, copied):
    it = make()
    for _ in range(2):
        it.check(images())
    it.graphs.recorder = CudaRecorder()  # what there is to copy on a GPU
    graphs = copied(it.graphs)
    graphs.recorder = recorder = Recorder(it.network)
    assert graphs.max_graphs == it.graphs.max_graphs
    with torch.no_grad():
        graphs(it.network, it.network.forward, images())
        assert not recorder.pools
        graphs(it.network, it.network.forward, images())
    assert len(recorder.pools) == 1


def failed_recording():
    """As :class:`torch.cuda.graph` fails: its end hides what went wrong."""
    try:
        try:
            raise RuntimeError('operation not permitted when stream is capturing\nmore')
        finally:
            raise RuntimeError('operation failed due to a previous error during capture')
    except RuntimeError as error:
        return error


def test_what_cannot_be_recorded_runs_without_for_good(make, messages):
    it = make()
    for _ in range(2):
        it.check(images(1))
    it.recorder.error = failed_recording()
    for _ in range(4):
        it.check(images(2))
        it.check(images(1))
    assert len(it.recorder.pools) == 2
    assert not it.recorder.kept
    (message,) = messages
    assert 'operation not permitted when stream is capturing; ' in message
    assert f'{__file__}, line ' in message
    assert message.endswith('set model.cuda_graphs=False')
    assert '\n' not in message


def test_a_cpu_is_told_once(messages):
    network, graphs = Network().eval(), CudaGraphs()
    x = images()
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(graphs(network, network.forward, x), network(x))
    assert messages == ['model.cuda_graphs=True has no effect on cpu: it needs a GPU']


def test_at_least_one_graph():
    with pytest.raises(ValueError, match='max_graphs must be at least 1, got 0'):
        CudaGraphs(max_graphs=0)


def build(mode='whole'):
    """A segmentor with graphs, one without, and the recorder."""
    with_graphs, without = build_segmentor(MODES[mode]), build_segmentor(MODES[mode])
    with_graphs.graphs = CudaGraphs(recorder=Recorder(with_graphs))
    return with_graphs, without, with_graphs.graphs.recorder


def assert_same_predictions(one, other, inputs):
    for model in (one, other):
        model.keep_scores = True
    for got, expected in zip(one.predict(inputs), other.predict(inputs), strict=True):
        torch.testing.assert_close(got.seg_logits.data, expected.seg_logits.data, rtol=0, atol=1e-5)


@pytest.mark.parametrize(('mode', 'recorded'), [('whole', 2), ('slide', 1)])
def test_segmentor_predicts_the_same(mode, recorded):
    """Windows are of one size whatever the image's, and all are predicted before one is used."""
    one, other, recorder = build(mode)
    for _ in range(3):
        for size in ((48, 80), (48, 64)):
            assert_same_predictions(one, other, torch.randn(1, 3, *size))
    assert len(recorder.pools) == recorded
    assert recorder.replays == (4 if mode == 'whole' else 3 * (2 + 2) - 1)


def test_segmentor_follows_its_weights():
    one, other, recorder = build()
    inputs = torch.randn(1, 3, 64, 64)
    for _ in range(2):
        one.predict(inputs)
    state = {k: v * 1.1 if v.is_floating_point() else v for k, v in one.state_dict().items()}
    for model in (one, other):
        model.load_state_dict(state)
    assert_same_predictions(one, other, inputs)
    assert recorder.replays == 2
    for model in (one, other):
        model.double()
    for _ in range(3):
        assert_same_predictions(one, other, inputs.double())
    assert len(recorder.pools) == 2


def test_training_has_the_memory_of_the_graphs():
    model, _, recorder = build()
    for _ in range(2):
        model.predict(torch.randn(1, 3, 64, 64))
    assert len(recorder.kept) == 1
    model.eval()
    assert len(recorder.kept) == 1
    model.train()
    assert not recorder.kept


def test_moved_models_keep_no_old_weights():
    model, _, recorder = build()
    for _ in range(2):
        model.predict(torch.randn(1, 3, 64, 64))
    storage = weakref.ref(model.decode_head.cls_embed.weight.untyped_storage())
    model.double()
    assert not recorder.kept
    assert storage() is None


def test_averaged_models_have_graphs_of_their_own():
    model, other, recorder = build()
    inputs = torch.randn(1, 3, 64, 64)
    for _ in range(2):
        model.predict(inputs)
    model.graphs.recorder = CudaRecorder()
    average = ExponentialMovingAverage(model).module.eval()
    average.graphs.recorder = its_recorder = Recorder(average)
    for x in average.parameters():
        x.data.mul_(1.1)
    for x in other.parameters():
        x.data.mul_(1.1)
    for _ in range(3):
        assert_same_predictions(average, other, inputs)
    assert len(its_recorder.pools) == 1
    assert recorder.replays == 1


def test_views_of_an_image_are_replayed_too():
    model, other, recorder = build()
    inputs = torch.randn(1, 3, 64, 64)
    meta = dict(ori_shape=(64, 64), img_shape=(64, 64), pad_shape=(64, 64))
    results = []
    for module in (model, other):
        tta = MODELS.build(dict(type='FASegTTAModel', module=module))
        views = [dict(meta), dict(meta, flip=True, flip_direction='horizontal')] * 2
        data = dict(
            inputs=[inputs] * 4,
            data_samples=[[SegDataSample(metainfo=view)] for view in views],
        )
        results.append(tta.test_step(data)[0].pred_sem_seg.data)
    assert (results[0] == results[1]).all()
    assert recorder.replays == 3


def test_segmentor_is_configured_by_cuda_graphs():
    head = head_config(in_channels=[4, 8, 16, 32])
    config = dict(type='FASegSegmentor', backbone=BACKBONE, decode_head=head)
    assert MODELS.build(config).graphs is None
    assert isinstance(MODELS.build(dict(config, cuda_graphs=True)).graphs, CudaGraphs)
