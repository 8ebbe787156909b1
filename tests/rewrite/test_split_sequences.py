from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.rewrite import FoldConstants, RewriteReport, SplitSequences, run_rewrites

Build = Callable[..., ir.Model]
Operators = Callable[[ir.Model], list[str]]

TEXT = """g (float[1,7,4] x, int64[{rank}] sizes) => ({kind} y) {{
    i = Constant<value = int64 {{0}}>() j = Constant<value = int64 {{1}}>()
    s = SplitToSequence<axis = {axis}, keepdims = 1>(x, {sizes}) {body}
}}"""


@pytest.mark.parametrize(("axis", "sizes"), [(1, [3, 4]), (-2, [2, 5])])
def test_indexed_sequence_becomes_split(build_graph: Build, operators: Operators, axis: int, sizes: list[int]) -> None:
    text = TEXT.format(
        rank=2,
        kind="float[1,7,4]",
        axis=axis,
        sizes="sizes",
        body="a = SequenceAt(s, i) b = SequenceAt(s, j) y = Concat<axis = 1>(b, a)",
    )
    model = build_graph(text, sizes=np.array(sizes))
    assert all(report.kept for report in run_rewrites(model, [FoldConstants(), SplitSequences()]))
    assert operators(model) == ["Split", "Concat"]


def test_last_part_of_equal_steps_is_the_rest(build_graph: Build, operators: Operators) -> None:
    text = TEXT.format(rank=0, kind="float[1,1,4]", axis=1, sizes="sizes", body="k = Add(j, j) y = SequenceAt(s, k)")
    model = build_graph(text.replace("int64[0]", "int64"), sizes=np.array(3))
    reports: list[RewriteReport] = run_rewrites(model, [FoldConstants(), SplitSequences()])
    assert reports[1].details == ("s/SplitToSequence: 3 parts",)
    assert operators(model) == ["Split"]


def test_sequence_with_another_reader_stays(build_graph: Build, operators: Operators) -> None:
    text = TEXT.format(rank=2, kind="float[1,7,4]", axis=1, sizes="sizes", body="y = ConcatFromSequence<axis = 1>(s)")
    model = build_graph(text, sizes=np.array([3, 4]))
    SplitSequences().apply(model)
    assert operators(model)[-1] == "ConcatFromSequence"
