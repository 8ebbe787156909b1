"""`edgeconv export` without its rewrites and refinements: run as ``plain_lowering.py MODEL OPTIONS…``, as the verb.

The same trace, onnxsim, quantiser and converters. Constants and BatchNorms are folded and two spellings made plain,
without which not every runtime has a lowering. Left out are the other rewrites of the graph, the balancing and
equalising of its tensors, weight rounding and bias correction; ranges are minima and maxima. What remains is the least
that gives int8 artefacts of every runtime: the baseline that gains and costs of the rest are measured against.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any
from unittest import mock

import onnx_ir as ir

from edgeconv.cli import run
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

__all__ = ["plain_graphs"]


def plain_graphs(
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


if __name__ == "__main__":
    with mock.patch("edgeconv.export.pipeline.make_graphs", plain_graphs):
        sys.exit(run(["export", *sys.argv[1:]]))
