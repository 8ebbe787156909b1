"""All rewrites in order on whole networks: with factor pairs and coordinate gates, and with residuals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export.onnx import to_onnx
from edgeconv.export.simplify import simplify
from edgeconv.rewrite import EqualiseBottlenecks, EqualiseChannels, RewriteReport, default_rewrites, run_rewrites
from edgeconv.rewrite._evaluate import evaluate

SIZE = (24, 40)


class Gate(nn.Module):
    """A map computed from the coordinates by an MLP; its first `dead` channels are zero everywhere."""

    def __init__(self, channels: int, dead: int, size: tuple[int, int]) -> None:
        super().__init__()
        axes = (torch.linspace(-1, 1, extent) for extent in size)
        self.register_buffer("coordinates", torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2))
        self.encoder = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, channels))
        with torch.no_grad():
            self.encoder[2].bias[:dead] = -100
            self.encoder[2].bias[dead:] = 1
        self.project = nn.Conv2d(channels, channels, 1)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        gate = self.encoder(self.coordinates).relu().reshape(1, *self.size, -1).permute(0, 3, 1, 2)
        return self.project(x * gate)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, rank: int, dead: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.horizontal = nn.Conv2d(inputs, rank, (1, 3), padding=(0, 1), bias=False)
        self.vertical = nn.Conv2d(rank, outputs, (3, 1), padding=(1, 0))
        self.norm = nn.BatchNorm2d(outputs)
        self.gate = Gate(outputs, dead, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.norm(self.vertical(self.horizontal(x))).relu())


class GatedUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        half = (SIZE[0] // 2, SIZE[1] // 2)
        self.encoder = Block(3, 16, 1, 9, SIZE)
        self.bottom = Block(16, 24, 8, 5, half)
        self.up = nn.ConvTranspose2d(24, 16, 2, 2)
        self.decoder = Block(32, 16, 8, 3, SIZE)
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        skip = self.encoder(image)
        deep = self.up(self.bottom(nn.functional.max_pool2d(skip, 2)))
        return self.head(self.decoder(torch.cat([deep, skip], 1)))


class Residual(nn.Module):
    """A stem, a residual block with a projection, a depthwise block, and a classifier."""

    def __init__(self) -> None:
        super().__init__()

        def normed(inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=group, bias=False)
            return [conv, nn.BatchNorm2d(outputs)]

        self.stem = nn.Sequential(*normed(3, 8, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.body = nn.Sequential(*normed(8, 16, 3, 2), nn.ReLU(), *normed(16, 16, 3))
        self.skip = nn.Sequential(*normed(8, 16, 1, 2))
        self.depthwise = nn.Sequential(*normed(16, 16, 3, 1, 16), nn.ReLU6(), *normed(16, 24, 1), nn.Hardswish())
        self.dropout = nn.Dropout()
        self.classify = nn.Linear(24, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        x = self.depthwise((self.body(x) + self.skip(x)).relu())
        return self.classify(self.dropout(x.mean((2, 3))))


def _train_a_little(module: nn.Module) -> None:
    """Give every parameter and statistic a value that an initialisation would not have."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.3, 2)
            part.bias.data.normal_(0, 0.5)
            part.running_mean.normal_(0, 0.5)
            part.running_var.uniform_(0.05, 3)


def _sqnr_db(reference: np.ndarray, result: np.ndarray) -> float:
    error = np.square(reference.astype(float) - result).sum()
    return float(10 * np.log10(np.square(reference.astype(float)).sum() / error))


@pytest.fixture(scope="module", params=[GatedUNet, Residual])
def rewritten(request: pytest.FixtureRequest) -> tuple[nn.Module, ir.Model, dict[str, RewriteReport]]:
    torch.manual_seed(1)
    module = request.param().eval()
    _train_a_little(module)
    model = to_onnx(module, {"image": torch.zeros(1, 3, *SIZE)})
    probe = np.random.default_rng(0).random((1, 3, *SIZE), np.float32)
    reports = run_rewrites(model, default_rewrites(), [{"image": probe}])
    return module, simplify(model), {report.name: report for report in reports}


def _compare(module: nn.Module, model: ir.Model) -> float:
    image = np.random.default_rng(5).random((1, 3, *SIZE), np.float32)
    with torch.no_grad():
        reference = module(torch.from_numpy(image)).numpy()
    return _sqnr_db(reference, evaluate(model, [{"image": image}])[0]["output"])


def test_every_rewrite_is_exact_and_so_are_all_together(
    rewritten: tuple[nn.Module, ir.Model, dict[str, RewriteReport]],
) -> None:
    module, model, reports = rewritten
    assert all(report.kept for report in reports.values()), reports
    assert _compare(module, model) > 100


def test_only_what_the_data_pass_through_is_left(
    rewritten: tuple[nn.Module, ir.Model, dict[str, RewriteReport]],
) -> None:
    module, model, _ = rewritten
    found = Counter(node.op_type for node in model.graph)
    if isinstance(module, GatedUNet):
        assert found == Counter(Conv=8, Relu=3, Mul=3, MaxPool=1, DepthToSpace=1, Concat=1)
    else:
        assert found == Counter(Conv=6, Relu=3, Clip=1, MaxPool=1, Add=1, HardSwish=1, ReduceMean=1, Gemm=1)


def test_each_rewrite_finds_what_it_is_for(rewritten: tuple[nn.Module, ir.Model, dict[str, RewriteReport]]) -> None:
    module, _, reports = rewritten
    changed = {name: report.changed for name, report in reports.items() if name != "fold_constants" and report.changed}
    if isinstance(module, GatedUNet):
        assert changed == {
            "fold_batchnorm": 3,
            "normalise_gates": 3,
            "prune_gate_channels": 1,  # 7 of 16 live: 8 kept; 19 of 24: 24; 13 of 16: 16
            "transposed_conv_to_depth_to_space": 1,
            "fuse_pointwise": 2,
            "merge_pairs": 1,
        }
    else:
        assert changed == {"fold_batchnorm": 6}


def test_every_node_knows_its_module(rewritten: tuple[nn.Module, ir.Model, dict[str, RewriteReport]]) -> None:
    module, model, _ = rewritten
    paths = {name for name, _ in module.named_modules()}
    names = [str(node.name) for node in model.graph]
    assert len(set(names)) == len(names)
    for node in model.graph:
        path = node.metadata_props["edgeconv.module"]
        assert path in paths
        assert str(node.name).startswith(f"{path}/")


def test_equalisation_is_exact_and_narrows_the_bottlenecks(
    rewritten: tuple[nn.Module, ir.Model, dict[str, RewriteReport]],
    channel_ranges: Callable[[ir.Model], dict[str, np.ndarray]],
) -> None:
    module, model, _ = rewritten
    model = model.clone()
    (gauge,) = run_rewrites(model, [EqualiseBottlenecks(channel_ranges(model))])
    (equalised,) = run_rewrites(model, [EqualiseChannels(channel_ranges(model))])
    assert gauge.kept
    assert gauge.changed == (2 if isinstance(module, GatedUNet) else 0)
    assert equalised.kept
    assert equalised.changed
    assert _compare(module, model) > 100
