"""Whole networks from torch: no transpose in the body, and the numbers of ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxsim
import pytest
import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (1, 3, 16, 24)


def _block(inputs, outputs, stride=1):
    norm = nn.BatchNorm2d(outputs)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), norm, nn.ReLU())


class GatedUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = _block(3, 8), _block(8, 16), _block(16, 8)
        self.gate = nn.Parameter(torch.rand(1, 8, 16, 24))
        self.up, self.head = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        skip = self.first(x) * torch.relu(self.gate)
        x = self.second(F.max_pool2d(skip, 2))
        return torch.sigmoid(self.head(self.last(torch.cat([skip, self.up(x)], 1))))


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand, self.project = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.project(F.gelu(self.expand(y))).permute(0, 3, 1, 2)


class MobileBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(), nn.Conv2d(8, 8, 5, 1, 2, groups=8))
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 12, 5), nn.Softmax(1))

    def forward(self, x):
        x = F.relu6(self.stem(x))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return self.head(x * gate[:, :, None, None])


class Attention(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.stem, self.query, self.out = nn.Conv2d(3, channels, 3), nn.Linear(channels, 3 * channels), nn.Linear(8, 8)

    def forward(self, x):
        x = self.stem(x)
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = self.query(tokens).chunk(3, -1)
        mixed = torch.softmax(query @ key.transpose(1, 2) / 8**0.5, -1) @ value
        return self.out(mixed).transpose(1, 2).reshape(x.shape)


NETWORKS = {
    "gated U-Net": GatedUNet,
    "ConvNeXt block": ConvNeXtBlock,
    "MobileNet block": MobileBlock,
    "attention": Attention,
    "normalisations": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.SiLU(), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8)
    ),
    "resampling": lambda: nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(3, 12, 3),
        nn.PixelShuffle(2),
        nn.Upsample(scale_factor=2),
        nn.ReflectionPad2d(1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.Softmax2d(),
    ),
    "classifier": lambda: nn.Sequential(
        _block(3, 8, 2), nn.MaxPool2d(3, 2, 1), _block(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    ),
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())
def test_network_has_no_transpose_and_the_numbers_of_onnx_runtime(kit, build):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    program = torch.onnx.export(build().eval(), (torch.rand(SHAPE),), dynamo=True, opset_version=18, verbose=False)
    model, simplified = onnxsim.simplify(program.model_proto)
    assert simplified
    result = kit.lower(model)
    assert result.transposes == 0
    feeds = {result.inputs[0].port: np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)}
    (expected,), (actual,) = kit.run_onnx(model, feeds), kit.run_tflite(result, feeds)
    assert kit.sqnr_db(expected, actual) >= 110


def _encoder_decoder(kit):
    """A small quantised U-Net, written node by node as the quantiser writes it."""
    graph = kit.Graph(quantised=True)
    x = graph.operand(kit.X(SHAPE, -1, 1), None)
    state = {"scale": graph.ports[0][2][0]}

    def conv(value, outputs, inputs, pair):
        array = 0.3 * kit.normal(outputs, inputs, 3, 3)
        weights = graph.operand(kit.W(array), None)
        scale = np.float32(state["scale"]) * graph.weight_scale
        bias = graph.dequantised(np.arange(outputs, dtype=np.int32) * 50, scale, np.zeros(outputs, np.int32))
        (y,) = graph.node("Conv", [value, weights, bias], pads=[1, 1, 1, 1])
        (y,) = graph.node("Relu", [y])
        state["scale"] = pair[0]
        return graph.qdq(y, pair)

    wide, deep = (0.015, -128), (0.02, -128)
    skip = conv(x, 8, 3, wide)
    (gated,) = graph.node("Mul", [skip, graph.operand(kit.C(np.abs(kit.normal(1, 8, 16, 24))), None)])
    gated = graph.qdq(gated, deep)
    pooled = graph.qdq(graph.node("MaxPool", [gated], kernel_shape=[2, 2], strides=[2, 2])[0], deep)
    state["scale"] = deep[0]
    y = conv(pooled, 8, 8, deep)
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    y = graph.qdq(graph.node("Resize", [y, "", scales], mode="linear")[0], deep)
    y = graph.qdq(graph.node("Concat", [gated, y], axis=1)[0], deep)
    y = conv(y, 4, 16, deep)
    (y,) = graph.node("Sigmoid", [y])
    return graph.model([graph.qdq(y, (1 / 256, -128))], 18), graph.ports


def test_quantised_network_runs_in_int8_from_input_to_output(kit):
    model, ((name, _, (scale, zero)),) = _encoder_decoder(kit)
    result = kit.lower(model)
    assert not {"TRANSPOSE", "QUANTIZE", "DEQUANTIZE"} & set(result.operators)
    integers = np.random.default_rng(0).integers(-128, 128, SHAPE).astype(np.int8)
    (expected,) = kit.run_onnx(model, {name: ((integers - np.float32(zero)) * np.float32(scale)).astype(np.float32)})
    (actual,) = kit.run_tflite(result, {name: integers})
    assert kit.sqnr_db(expected, (actual.astype(np.float32) + 128) / 256) >= 40
