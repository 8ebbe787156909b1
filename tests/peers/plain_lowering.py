"""`edgeconv export` without its rewrites and refinements: run as ``plain_lowering.py MODEL OPTIONS…``, as the verb.

The same trace, onnxsim, quantiser and converters. Constants and BatchNorms are folded and two spellings made plain,
without which not every runtime has a lowering. Left out are the other rewrites of the graph, the balancing and
equalising of its tensors, weight rounding and bias correction; ranges are minima and maxima. Converters write one
operator for one: no ReLU on integers for ONNX Runtime or OpenVINO, no convolution by columns or patches for ONNX
Runtime or LiteRT, and no outputs in float. What remains is the least that gives int8 artefacts of every runtime: the
baseline that gains and costs of the rest are measured against.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from unittest import mock

import onnx_ir as ir

from edgeconv.cli import run
from edgeconv.export import conversion
from edgeconv.export.choices import Choices
from edgeconv.export.fingerprint import Fingerprint
from edgeconv.export.golden import normalised
from edgeconv.export.graphs import Graphs, quantise_graph
from edgeconv.export.prepare import Stage
from edgeconv.export.quantize import QuantisationScheme
from edgeconv.export.simplify import simplify
from edgeconv.export.subject import Subject
from edgeconv.manifest import Port
from edgeconv.rewrite import ClipFromMinMax, FoldBatchNorm, FoldConstants, SplitSequences, run_rewrites

__all__ = ["plain_exports"]

_CONVERT = "--convert"


@contextlib.contextmanager
def plain_exports() -> Iterator[None]:
    """While this lasts, exports are plain ones."""
    with (
        mock.patch("edgeconv.export.pipeline.make_graphs", _plain_graphs),
        mock.patch("edgeconv.export.conversion.child_command", _child_command),
    ):
        yield


def _child_command(_: str, *arguments: str) -> list[str]:
    return [sys.executable, __file__, _CONVERT, *arguments]


def _plain_graphs(
    traced: ir.Model,
    subject: Subject,
    ports: Sequence[Port],
    schemes: Collection[str],
    stage: Stage,
    *_: Any,
    **__: Any,
) -> Graphs:
    """In the place of `make_graphs`."""
    choices = Choices(ranges="minmax", balancing=False, equalisation=0.0)
    source = "" if subject.calibration is None else subject.calibration.description
    fingerprint = Fingerprint(source, [port.name for port in ports])
    probes = [normalised(sample, ports) for sample in subject.golden[:1]]
    with stage("simplify"):
        run_rewrites(traced, [FoldConstants(), SplitSequences(), ClipFromMinMax(), FoldBatchNorm()], probes)
        graph = simplify(traced)
    with stage("calibrate and quantise"), mock.patch("edgeconv.export.graphs.quantisation_scheme", _plain_scheme):
        made = quantise_graph(graph, subject, ports, schemes, choices, fingerprint)
    return Graphs(graph, made.int8, made.no_int8, [], choices, fingerprint.data())


def _plain_scheme(name: str, _: Sequence[Port], choices: Choices) -> QuantisationScheme:
    return QuantisationScheme(name, choices.ranges, bias_correction=False)


def _convert(argv: list[str]) -> int:
    """The child process of a plain export; see `edgeconv.export.conversion.main`."""
    with (
        mock.patch("edgeconv.export.tflite.few_channels._WORTHWHILE", 0.0),
        mock.patch("edgeconv.export.integer_relu.relus_on_integers"),
        mock.patch("edgeconv.export.joined_columns.join_columns"),
        mock.patch("edgeconv.export.float_outputs.free_outputs", return_value=False),
        mock.patch("edgeconv.export.openvino.free_outputs", return_value=False),
        mock.patch("edgeconv.export.openvino.move_relus"),
    ):
        return conversion.main(argv)


if __name__ == "__main__":
    if sys.argv[1] == _CONVERT:
        sys.exit(_convert(sys.argv[2:]))
    with plain_exports():
        sys.exit(run(["export", *sys.argv[1:]]))
