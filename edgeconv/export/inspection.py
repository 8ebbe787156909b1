"""What a model consists of, operator by operator, as it will be exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.export.options import ExportOptions

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Inspection", "LayerRow", "inspect_model", "layers_table"]


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """One operator that has weights or costs multiply-accumulates."""

    name: str
    operator: str
    output_shape: list[int]
    kernel: list[int] | None
    parameters: int
    macs: int


@dataclasses.dataclass(frozen=True)
class Inspection:
    """All rows, the totals, and how many operators of each kind there are."""

    model: str
    parameters: int
    macs: int
    rows: list[LayerRow]
    operators: dict[str, int]


def inspect_model(
    model: str, weights: Path | None, input_shape: Sequence[str], progress: Callable[[str], None]
) -> Inspection:
    """Trace `model` and list its operators; the coordinate gates are folded, as in an export.

    Raises:
        EdgeconvError: as for an export.
    """
    progress("load")
    from edgeconv.export.macs import count_macs, count_weights
    from edgeconv.export.subject import load_subject
    from edgeconv.graph import static_shape
    from edgeconv.rewrite import FoldConstants

    subject = load_subject(ExportOptions(model, weights=weights, input_shapes=tuple(input_shape)))
    progress("trace")
    graph = subject.trace()
    FoldConstants().apply(graph)
    rows, operators = [], dict[str, int]()
    for node in graph.graph:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
        parameters, macs = count_weights(node), count_macs(node)
        if parameters or macs:
            kernel = node.attributes.get("kernel_shape")
            rows.append(
                LayerRow(
                    node.name or "",
                    node.op_type,
                    list(static_shape(node.outputs[0])),
                    list(kernel.as_ints()) if kernel else None,
                    parameters,
                    macs,
                )
            )
    return Inspection(
        subject.name, subject.parameters, sum(r.macs for r in rows), rows, dict(sorted(operators.items()))
    )


def layers_table(inspection: Inspection) -> Table:
    """The rows for a terminal."""
    from rich.markup import escape

    from edgeconv.tables import plain_table

    title = f"{inspection.model}: {inspection.parameters:,} parameters, {inspection.macs / 1e6:,.1f} MMAC"
    table = plain_table(title=title)
    for column in ("node", "operator", "kernel", "output", "parameters", "MMAC", "share"):
        table.add_column(column, justify="left" if column in ("node", "operator") else "right", overflow="fold")
    for row in inspection.rows:
        table.add_row(
            escape(row.name),
            escape(row.operator),
            "x".join(map(str, row.kernel)) if row.kernel else "–",
            "x".join(map(str, row.output_shape)),
            f"{row.parameters:,}",
            f"{row.macs / 1e6:,.2f}",
            f"{row.macs / max(inspection.macs, 1):.1%}",
        )
    return table
