"""Claims that are shown on the running machine: latency of two 1-D convolutions, and the Factorizer's two dials."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from edgeconv.layers.nmf import NMF
from edgeconv.layers.sfconv import SFConv2d
from edgeconv.reproduce.claims import Row, register, verdict

__all__: list[str] = []

_REPEATS = 15


@register("sfconv-latency", "SFConv: two 1-D convolutions do not slow inference down")
def latency() -> list[Row]:
    """A dense 3x3 against the pair at half and a quarter of the rank, in ONNX Runtime on one thread."""
    rows = []
    for channels, side in ((32, 128), (64, 64), (128, 32), (256, 16)):
        dense = nn.Conv2d(channels, channels, 3, padding=1).eval()
        for share in (2, 4):
            pair = SFConv2d.from_conv(dense, channels // share)
            ratio = _ratio(dense, pair, torch.randn(1, channels, side, side))
            condition = f"{channels} channels, {side} x {side}, rank {channels // share}, fp32"
            found = f"{ratio:.2f}x as fast, {1.5 * share:.0f}x fewer operations"
            rows.append(Row("no slow-down", condition, "> 1", found, verdict(ratio > 1)))
    return rows


def _ratio(dense: nn.Module, pair: nn.Module, x: torch.Tensor) -> float:
    """Median time of `dense` over that of `pair`, interleaved."""
    sessions = [_session(module, x) for module in (dense, pair)]
    feeds = [{session.get_inputs()[0].name: x.numpy()} for session in sessions]
    times: list[list[int]] = [[], []]
    for repeat in range(_REPEATS + 3):
        for index, session in enumerate(sessions):
            start = time.perf_counter_ns()
            session.run(None, feeds[index])
            if repeat >= 3:
                times[index].append(time.perf_counter_ns() - start)
    return float(np.median(times[0]) / np.median(times[1]))


def _session(module: nn.Module, x: torch.Tensor):  # type: ignore[no-untyped-def]
    from edgeconv.export.onnx import forward_parameters, to_onnx
    from edgeconv.graph import to_bytes
    from edgeconv.runtimes.onnxruntime import import_onnxruntime

    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    (name,) = forward_parameters(module)
    return ort.InferenceSession(to_bytes(to_onnx(module, {name: x})), options, providers=["CPUExecutionProvider"])


@register("factorizer-iterations", "Factorizer: a trained one is sped up by fewer iterations, with little loss")
def iterations() -> list[Row]:
    """Output of rank 1 HALS after fewer than five iterations against five."""
    x = torch.relu(torch.randn(20, 8, 512, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    layer = NMF(8, 512, 1).double()
    five = layer(x)
    rows = []
    for count, expected in ((1, 5.2), (2, 1.1), (3, 0.24)):
        layer.iterations = count
        change = 100 * float((layer(x) - five).norm() / five.norm())
        condition = f"{count} of 5 iterations, rank 1, random input"
        rows.append(Row("output changes little", condition, f"{expected} %", f"{change:.2f} %", verdict(change < 6)))
    return rows


@register("factorizer-scaling", "Factorizer: time grows linearly with the pixels")
def scaling() -> list[Row]:
    """Time of the factorisation for one, four and sixteen times the windows."""
    layer = NMF(8, 64, 1)
    rows, first = [], 0.0
    with torch.no_grad():
        for windows in (1024, 4096, 16384):
            x = torch.rand(windows, 8, 64)
            layer(x)
            samples = []
            for _ in range(_REPEATS):
                start = time.perf_counter_ns()
                layer(x)
                samples.append(time.perf_counter_ns() - start)
            each = float(np.median(samples)) / windows
            first = first or each
            words = f"{each / first:.2f} of the time for each window"
            rows.append(Row("linear in the pixels", f"{windows * 64:,} pixels", "1", words, verdict(each < 2 * first)))
    return rows
