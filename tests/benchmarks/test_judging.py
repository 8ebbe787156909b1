from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.benchmarks.judging import Judge
from edgeconv.bundles import Bundle, load_bundle
from edgeconv.errors import BundleError, UsageError
from edgeconv.manifest import Artifact
from edgeconv.parity.verdict import judge_result
from edgeconv.records import Latency, Memory, Result


def result(precision: str) -> Result:
    latency, memory = Latency([1], None, None, None, []), Memory(None, None, "")
    return Result("onnxruntime", precision, True, [], "0", 1, latency, 1, 1, 1, memory, None, None, "CPU", 1, {})


def artifact(bundle: Bundle, precision: str) -> Artifact:
    return next(a for a in bundle.manifest.artifacts if (a.runtime, a.precision) == ("onnxruntime", precision))


def with_golden(directory: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> Bundle:
    bundle = load_bundle(directory)
    np.savez(bundle.golden, allow_pickle=False, **arrays)
    return bundle


def test_an_output_that_is_wrong_beside_a_large_one_fails_and_is_named(tiny_bundle):
    arrays = load_bundle(tiny_bundle).golden_arrays()
    arrays |= {f"{name}.large": arrays[f"{name}.y"] * np.float32(1e5) for name in ("torch", "onnx", "qdq")}
    bundle = with_golden(tiny_bundle, arrays)
    outputs = {"y": -arrays["qdq.y"], "large": arrays["qdq.large"]}
    judged = Judge(bundle).complete(result("int8"), outputs, artifact(bundle, "int8"))
    assert judged.evidence["worst output total"] == "y"
    failures = [finding.message for finding in judge_result(judged) if not finding.passed]
    assert any("total SQNR -" in words and "dB of output 'y'; needed 28.0 dB or more" in words for words in failures)


def test_a_single_output_has_no_name_to_tell(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    outputs = {"y": bundle.golden_arrays()["onnx.y"]}
    assert Judge(bundle).complete(result("fp32"), outputs, artifact(bundle, "fp32")).evidence == {}


def test_a_metric_that_was_chosen_needs_targets(tiny_bundle):
    arrays = load_bundle(tiny_bundle).golden_arrays()
    bundle = with_golden(tiny_bundle, {name: array for name, array in arrays.items() if name != "target"})
    with pytest.raises(UsageError, match="metric dice needs targets, and the golden cases of tiny-host have none"):
        Judge(bundle, "dice")
    named = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, metric="dice"))
    outputs = {"y": arrays["onnx.y"]}
    assert Judge(named).complete(result("fp32"), outputs, artifact(bundle, "fp32")).task is None


def test_a_bundle_without_outputs_is_damaged(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    with pytest.raises(BundleError, match="names no output"):
        Judge(dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, outputs=[])))
