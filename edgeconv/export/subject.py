"""What is exported: a model that can be traced and run, with its input shapes, golden samples and calibration data.

A torch module, an exported program and an ONNX file differ only here; everything after sees one `Subject`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.errors import ModelError, UsageError
from edgeconv.export.data import TARGET_KEY, Array, Sample, SampleSource, open_source, split_source
from edgeconv.export.options import ExportOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeconv.models.loading import LoadedModel
    from edgeconv.training.tasks import Task

__all__ = ["Subject", "calibration_source", "known_shapes", "load_subject", "task_calibration"]

_SYNTHETIC_SEED = 20240301
_TASK_CALIBRATION_COUNT = 16


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model ready for export.

    trace: the fp32 ONNX graph, before any rewrite.
    run: the original model's outputs for normalised inputs, in the order of the graph's outputs.
    calibration: None where the user gave no data; int8 cannot be made then.
    """

    name: str
    source: str
    weights_sha256: str | None
    parameters: int
    shapes: dict[str, tuple[int, ...]]
    golden: list[Sample]
    calibration: SampleSource | None
    metric: str | None
    trace: Callable[[], ir.Model]
    run: Callable[[Mapping[str, Array]], list[Array]]


@dataclasses.dataclass(frozen=True)
class _Handle:
    """The parts of a `Subject` that depend on what kind of model it is."""

    parameters: int
    shapes: dict[str, tuple[int, ...]]
    trace: Callable[[], ir.Model]
    run: Callable[[Mapping[str, Array]], list[Array]]


def load_subject(options: ExportOptions) -> Subject:
    """Load the model and open its data.

    Raises:
        EdgeconvError: the model, its weights, its shapes or its data cannot be used.
    """
    from edgeconv.models.loading import load_model

    loaded = load_model(options.model, options.weights)
    if options.nmf_iterations is not None:
        loaded = _with_iterations(loaded, options.nmf_iterations)
    handle = _module(loaded, options) if loaded.onnx_path is None else _onnx(loaded, options)
    golden, calibration, metric = _data(loaded, handle.shapes, options)
    return Subject(
        loaded.name,
        loaded.source,
        loaded.weights_sha256,
        handle.parameters,
        handle.shapes,
        golden,
        calibration,
        metric,
        handle.trace,
        handle.run,
    )


def _with_iterations(loaded: LoadedModel, iterations: int) -> LoadedModel:
    from edgeconv.models.factorizer import set_iterations

    if loaded.module is None:
        raise UsageError(
            f"{loaded.source} is traced already: the iterations of its NMF layers are fixed.",
            "Export from the code of the model, or leave --nmf-iterations out.",
        )
    set_iterations(loaded.module, iterations)
    return dataclasses.replace(loaded, source=f"{loaded.source}, {iterations} NMF iterations")


def _module(loaded: LoadedModel, options: ExportOptions) -> _Handle:
    import torch

    from edgeconv.export.onnx import forward_parameters, to_onnx

    traceable: Any = loaded.exported_program or loaded.module
    module: torch.nn.Module
    if loaded.exported_program is not None:
        names, shapes = _program_shapes(loaded.exported_program)
        module = loaded.exported_program.module()
        positional = len((loaded.exported_program.example_inputs or (names, {}))[0])
    elif loaded.module is not None:
        module, shapes, positional = loaded.module, {}, 0
        names = list(forward_parameters(module))
    else:
        raise ModelError(f"{options.model} gave neither a module nor a graph.")
    shapes = known_shapes(loaded, names, options.input_shapes, shapes)

    def run(inputs: Mapping[str, Array]) -> list[Array]:
        tensors = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names}
        with torch.inference_mode():  # an exported program takes its inputs just as it was given them when exported
            outputs = module(
                *(tensors[name] for name in names[:positional]), **{name: tensors[name] for name in names[positional:]}
            )
        return [tensor.numpy() for tensor in _flatten(outputs)]

    def trace() -> ir.Model:
        return to_onnx(traceable, {name: torch.zeros(shapes[name]) for name in names})

    parameters = sum(parameter.numel() for parameter in module.parameters())
    return _Handle(parameters, {name: shapes[name] for name in names}, trace, run)


def _onnx(loaded: LoadedModel, options: ExportOptions) -> _Handle:
    from edgeconv.export.onnx import load_onnx, parse_input_shapes
    from edgeconv.export.reference import ReferenceRunner
    from edgeconv.graph import load_graph, static_shape

    path = loaded.onnx_path
    if path is None:
        raise ModelError(f"{options.model} is no ONNX file.")
    names = [value.name or "" for value in load_graph(path).graph.inputs]
    model = load_onnx(path, parse_input_shapes(options.input_shapes, names))
    shapes = {value.name or "": static_shape(value) for value in model.graph.inputs}
    parameters = sum(int(np.prod(v.shape.numpy())) for v in model.graph.initializers.values() if v.shape is not None)

    runner = ReferenceRunner(model)

    def run(inputs: Mapping[str, Array]) -> list[Array]:
        return list(runner.run(inputs).values())

    return _Handle(parameters, shapes, lambda: load_onnx(path, shapes), run)


def _data(
    loaded: LoadedModel, shapes: dict[str, tuple[int, ...]], options: ExportOptions
) -> tuple[list[Sample], SampleSource | None, str | None]:
    calibration = calibration_source(loaded, shapes, options.calibration, options.calibration_count)
    if options.evaluation is not None:
        return open_source(options.evaluation, shapes).take(options.golden_count), calibration, options.metric
    if loaded.task is not None:
        return _task_evaluation(loaded.task, shapes, options.golden_count), calibration, loaded.task.metric
    if calibration is not None:
        golden, calibration = split_source(calibration, options.golden_count)
        return golden, calibration, options.metric
    rng = np.random.default_rng(_SYNTHETIC_SEED)
    samples = [
        {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
        for _ in range(options.golden_count)
    ]
    return samples, None, None


def known_shapes(
    loaded: LoadedModel,
    names: Sequence[str],
    input_shapes: Sequence[str],
    traced: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> dict[str, tuple[int, ...]]:
    """The shapes of a module's inputs: those that were asked for, else of the trace or the built-in task.

    Raises:
        UsageError: one is not known, or `input_shapes` are no shapes of these inputs.
    """
    from edgeconv.export.onnx import parse_input_shapes

    shapes = dict(traced)
    if loaded.task is not None:
        shapes[names[0]] = tuple(loaded.task.input_shape)
    shapes.update(parse_input_shapes(input_shapes, names))
    missing = [name for name in names if name not in shapes]
    if missing:
        raise UsageError(
            f"The shape of input {missing[0]!r} is not known.",
            f"Give it: --input-shape {missing[0] + '=' if len(names) > 1 else ''}1x3x224x224, batch first.",
        )
    return shapes


def calibration_source(
    loaded: LoadedModel, shapes: Mapping[str, tuple[int, ...]], calibration: str | None, count: int
) -> SampleSource | None:
    """The first `count` calibration samples, the user's or the built-in task's; None where there are none.

    Raises:
        EdgeconvError: the data cannot be used, or `count` is not at least 1.
    """
    if count < 1:
        raise UsageError(f"--calibration-count must be at least 1, found {count}.")
    if calibration is not None:
        source = open_source(calibration, shapes)
    elif loaded.task is not None:
        source = task_calibration(loaded.task, shapes)
    else:
        return None
    return SampleSource(source.description, lambda: itertools.islice(iter(source), count))


def task_calibration(task: Task, shapes: Mapping[str, tuple[int, ...]]) -> SampleSource:
    """The calibration samples that an export takes of a built-in task.

    Raises:
        UsageError: the model's input has another shape than the task's images.
    """
    name = _task_input(task, shapes)

    @functools.cache  # they are drawn, which takes longer than computing on them
    def images() -> Array:
        return task.calibration(_TASK_CALIBRATION_COUNT)

    def samples() -> Iterator[Sample]:
        return ({name: image[None]} for image in images())

    return SampleSource(f"task {task.name}", samples)


def _task_evaluation(task: Task, shapes: Mapping[str, tuple[int, ...]], count: int) -> list[Sample]:
    name = _task_input(task, shapes)
    images, targets = task.evaluation(count)
    return [{name: i[None], TARGET_KEY: t[None]} for i, t in zip(images, targets, strict=True)]


def _task_input(task: Task, shapes: Mapping[str, tuple[int, ...]]) -> str:
    ((name, shape),) = shapes.items()
    if shape != tuple(task.input_shape):
        raise UsageError(
            f"The data of task {task.name!r} have the shape {'x'.join(map(str, task.input_shape))}, "
            f"--input-shape asks for {'x'.join(map(str, shape))}.",
            "Give your own --calibration and --eval for another shape.",
        )
    return name


def _program_shapes(program: Any) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    names = list(program.graph_signature.user_inputs)
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return names, {name: tuple(int(d) for d in placeholders[name].meta["val"].shape) for name in names}


def _flatten(outputs: Any) -> list[Any]:
    if isinstance(outputs, Mapping):
        return [tensor for value in outputs.values() for tensor in _flatten(value)]
    if isinstance(outputs, (tuple, list)):
        return [tensor for value in outputs for tensor in _flatten(value)]
    return [outputs]
