"""Networks of the usual kinds, trained for a second so that their activations are those of trained networks."""

from __future__ import annotations

import dataclasses
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxsim
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeconv.export.calibrate import collect_statistics
from edgeconv.export.quantize import Grid, QuantisationResult, QuantisationScheme, observed_tensors, quantize
from edgeconv.export.reference import ReferenceRunner, run_reference, split_operators
from edgeconv.export.twins import to_uint8
from edgeconv.runtimes.onnxruntime import import_onnxruntime

_SIZE = 32
_IMAGE = Grid(1 / 255, -128)


class _Pair(nn.Module):
    """A rank-factored convolution, BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        rank = max(2, outputs // 2)
        self.vertical = nn.Conv2d(inputs, rank, (3, 1), padding=(1, 0), bias=False)
        self.horizontal = nn.Conv2d(rank, outputs, (1, 3), padding=(0, 1))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.horizontal(self.vertical(x))))


class _Gated(nn.Module):
    """A pair behind which a constant map scales every pixel, then a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.pair, self.mix = _Pair(inputs, outputs), nn.Conv2d(outputs, outputs, 1)
        y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
        phases = torch.arange(outputs).reshape(-1, 1, 1)
        self.register_buffer("gate", functional.relu(torch.sin(2 * y + x + phases) + 0.5)[None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(self.pair(x) * self.gate)


class _UNet(nn.Module):
    def __init__(self, transposed: bool, sigmoid: bool) -> None:
        super().__init__()
        self.down1, self.down2 = _Gated(1, 8, _SIZE), _Gated(8, 16, _SIZE // 2)
        self.up = (
            nn.ConvTranspose2d(16, 8, 2, 2) if transposed else nn.Sequential(nn.Conv2d(16, 32, 1), nn.PixelShuffle(2))
        )
        self.join, self.head, self.sigmoid = _Gated(16, 8, _SIZE), nn.Conv2d(8, 1, 1), sigmoid

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down1(x)
        second = self.down2(functional.max_pool2d(first, 2))
        y = self.head(self.join(torch.cat([self.up(second), first], 1)))
        return torch.sigmoid(y) if self.sigmoid else y


def _normalised(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(m for layer in layers for m in (layer, nn.BatchNorm2d(layer.out_channels))))


class _ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = _normalised(nn.Conv2d(1, 8, 3, 1, 1, bias=False))
        self.a = nn.Sequential(_normalised(nn.Conv2d(8, 8, 3, 1, 1)), nn.ReLU(), _normalised(nn.Conv2d(8, 8, 3, 1, 1)))
        self.b = nn.Sequential(
            _normalised(nn.Conv2d(8, 16, 3, 2, 1)), nn.ReLU(), _normalised(nn.Conv2d(16, 16, 3, 1, 1))
        )
        self.shortcut, self.classify = _normalised(nn.Conv2d(8, 16, 1, 2)), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(x))
        x = functional.relu(x + self.a(x))
        x = functional.relu(self.shortcut(x) + self.b(x))
        return self.classify(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class _MobileNet(nn.Module):
    """Inverted residuals with depthwise convolutions, HardSwish, ReLU6 and squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_normalised(nn.Conv2d(1, 8, 3, 2, 1, bias=False)), nn.Hardswish())
        self.expand = nn.Sequential(_normalised(nn.Conv2d(8, 24, 1, bias=False)), nn.ReLU6())
        self.depthwise = nn.Sequential(_normalised(nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False)), nn.Hardswish())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 8, 1), nn.ReLU(), nn.Conv2d(8, 24, 1), nn.Sigmoid()
        )
        self.project = _normalised(nn.Conv2d(24, 8, 1, bias=False))
        self.classify = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.depthwise(self.expand(x))
        return self.classify(x + self.project(y * self.squeeze(y)))


@dataclasses.dataclass(frozen=True)
class _Case:
    build: Callable[[], nn.Module]
    classes: bool
    least_sqnr_db: float


_CASES = {
    "U-Net with ConvTranspose": _Case(lambda: _UNet(transposed=True, sigmoid=False), False, 28),
    "U-Net with DepthToSpace and Sigmoid": _Case(lambda: _UNet(transposed=False, sigmoid=True), False, 28),
    "ResNet classifier": _Case(_ResNet, True, 28),
    "MobileNet classifier": _Case(_MobileNet, True, 28),
}


@dataclasses.dataclass(frozen=True)
class _Exported:
    case: _Case
    model: ir.Model
    calibration: list[dict[str, np.ndarray]]
    test: list[dict[str, np.ndarray]]

    @property
    def output(self) -> str:
        return str(self.model.graph.outputs[0].name)


def _images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """8-bit pictures of waves in one of four directions, in noise, and the direction."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=random)
    y, x = torch.meshgrid(torch.arange(_SIZE) / _SIZE, torch.arange(_SIZE) / _SIZE, indexing="ij")
    angle, phase = labels[:, None, None] * torch.pi / 4, torch.rand(count, 1, 1, generator=random) * 6
    waves = 0.5 + 0.35 * torch.sin(12 * (torch.cos(angle) * y + torch.sin(angle) * x) + phase)
    noisy = waves[:, None] + 0.08 * torch.randn(count, 1, _SIZE, _SIZE, generator=random)
    return (noisy.clamp(0, 1) * 255).round() / 255, labels


def _loss(output: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, case: _Case) -> torch.Tensor:
    if case.classes:
        return functional.cross_entropy(output, labels)
    smooth = functional.avg_pool2d(images, 5, 1, 2)
    target = smooth + 2 * (images - smooth)
    return functional.mse_loss(output, target)


def _trained(case: _Case) -> nn.Module:
    torch.manual_seed(0)
    network = case.build().train()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(60):
        images, labels = _images(8, step)
        loss = _loss(network(images), images, labels, case)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def _export(network: nn.Module) -> ir.Model:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = (torch.zeros(1, 1, _SIZE, _SIZE),)
    program = torch.onnx.export(network, example, dynamo=True, opset_version=18, input_names=["x"], verbose=False)
    stream = io.BytesIO()
    program.save(stream)
    simplified, _ = onnxsim.simplify(onnx.load_from_string(stream.getvalue()))
    return ir.from_proto(simplified)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=_CASES)
def exported(request: pytest.FixtureRequest, one_thread: None) -> _Exported:
    case = _CASES[request.param]
    calibration, test = (
        [{"x": image[None].numpy()} for image in _images(count, seed)[0]] for count, seed in ((8, 1000), (24, 2000))
    )
    return _Exported(case, _export(_trained(case)), calibration, test)


@pytest.fixture(scope="module")
def quantised(exported: _Exported) -> QuantisationResult:
    statistics = collect_statistics(exported.model, exported.calibration, tensors=observed_tensors(exported.model))
    scheme = QuantisationScheme(input_grid={"x": _IMAGE})
    return quantize(exported.model, statistics, exported.calibration, scheme=scheme)


def _sqnr_db(exported: _Exported, model: ir.Model) -> float:
    expected, found = ReferenceRunner(exported.model), ReferenceRunner(model)
    pairs = [(expected.run(sample)[exported.output], found.run(sample)[exported.output]) for sample in exported.test]
    signal, noise = (
        np.concatenate(arrays).astype(float) for arrays in zip(*((a, a - b) for a, b in pairs), strict=True)
    )
    return float(10 * np.log10((signal**2).sum() / (noise**2).sum()))


def _peer(exported: _Exported, directory: Path) -> ir.Model:
    """ONNX Runtime's own static quantiser, per channel, with its default ranges."""
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples = iter(exported.calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._samples, None)

    ir.save(exported.model, directory / "fp32.onnx")
    quantize_static(
        directory / "fp32.onnx",
        directory / "int8.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return ir.load(directory / "int8.onnx")


def test_int8_stays_close_to_fp32_and_beats_onnxruntimes_quantiser(
    exported: _Exported, quantised: QuantisationResult, tmp_path: Path
) -> None:
    ours = _sqnr_db(exported, quantised.model)
    assert ours >= exported.case.least_sqnr_db
    assert ours >= _sqnr_db(exported, _peer(exported, tmp_path))


def test_every_operator_is_int8(quantised: QuantisationResult) -> None:
    assert quantised.summary.float_islands == ()
    assert quantised.summary.int8_mac_share == 1.0
    assert quantised.summary.bias_q_max_log2 < 30


def test_every_convolution_and_matrix_product_is_corrected(quantised: QuantisationResult) -> None:
    weighted = [node for node in quantised.recipe.nodes if node.macs]
    assert all(node.bias_corrected for node in weighted)


def test_operators_one_by_one_give_the_integers_of_the_whole(
    exported: _Exported, quantised: QuantisationResult
) -> None:
    cases = split_operators(quantised.model)
    names = sorted({name for case in cases for name in (*case.inputs, *case.outputs)} - {"x"})
    known = {**exported.test[0], **run_reference(quantised.model, exported.test[0], taps=names)}
    for case in cases:
        found = run_reference(case.model, {name: known[name] for name in case.inputs})
        assert all(np.array_equal(found[name], known[name]) for name in case.outputs), case.name


def test_the_uint8_twin_runs_on_integer_kernels_with_the_same_accuracy(
    exported: _Exported, quantised: QuantisationResult, tmp_path: Path
) -> None:
    ort = import_onnxruntime()
    twin = to_uint8(quantised.model)
    ir.save(twin, tmp_path / "twin.onnx")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    session = ort.InferenceSession(str(tmp_path / "twin.onnx"), options, providers=["CPUExecutionProvider"])
    left = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert not {"Conv", "Add", "Concat", "Gemm"} & set(left)
    assert left["Mul"] == left["HardSigmoid"]  # ONNX Runtime computes HardSwish as these two, in float
    signal = noise = fused = 0.0
    reference, fp32 = ReferenceRunner(quantised.model), ReferenceRunner(exported.model)
    for sample in exported.test:
        expected = fp32.run(sample)[exported.output]
        signal += float((expected.astype(float) ** 2).sum())
        noise += float(((expected - reference.run(sample)[exported.output]).astype(float) ** 2).sum())
        fused += float(((expected - session.run(None, sample)[0]).astype(float) ** 2).sum())
    assert abs(10 * np.log10(noise / fused)) < 0.5
