from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeconv.errors import CheckpointError, EdgeconvError, ModelError, UsageError
from edgeconv.export.onnx import forward_parameters, load_onnx, parse_input_shapes, to_onnx
from edgeconv.graph import MODULE_KEY, static_shape, to_bytes
from edgeconv.rewrite import FoldConstants
from edgeconv.rewrite._evaluate import evaluate


class Net(nn.Module):
    """A shared layer, a normalised one, a sum, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)), nn.Conv2d(3, 3, 1)]
        )

    def forward(self, image: Tensor, mask: Tensor, gain: float = 2.0) -> dict[str, Any]:
        x = self.stages[1](self.stages[0](image))
        y = self.stages[1](x + image)
        return {"y": y * gain, "rest": [y.mean((2, 3)), mask * x]}


INPUTS = {"image": torch.ones(1, 3, 5, 8), "mask": torch.ones(1, 1, 5, 8)}


@pytest.fixture(scope="module")
def exported() -> ir.Model:
    torch.manual_seed(0)
    return to_onnx(Net(), INPUTS)


def _run(model: ir.Model, **inputs: Tensor) -> list[np.ndarray]:
    return list(evaluate(model, [{name: tensor.numpy() for name, tensor in inputs.items()}])[0].values())


# -- shapes ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=6))
def test_shape_is_read_back_as_written(shape: list[int]) -> None:
    text = "x".join(map(str, shape))
    assert parse_input_shapes([text], ["image"]) == {"image": tuple(shape)}
    assert parse_input_shapes([f"image={text}"], ["image"]) == {"image": tuple(shape)}


def test_shapes_of_several_inputs_come_in_the_order_of_the_parameters() -> None:
    specs = ["mask=1x1x8x8", "image=1x3x8x8"]
    assert list(parse_input_shapes(specs, ["image", "mask"]).items()) == [
        ("image", (1, 3, 8, 8)),
        ("mask", (1, 1, 8, 8)),
    ]


def test_no_option_gives_no_shape() -> None:
    assert parse_input_shapes([], ["image"]) == {}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["1x0x3"], "is no shape"),
        (["1x-3"], "is no shape"),
        (["1x3x"], "is no shape"),
        (["image="], "is no shape"),
        (["large"], "is no shape"),
        ([""], "is no shape"),
        (["1x3"], "does not say which input"),
        (["pixels=1x3"], "no input 'pixels'; it has 'image', 'mask'"),
        (["image=1x3", "image=1x4"], "two shapes"),
    ],
)
def test_nonsense_is_refused(specs: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_input_shapes(specs, ["image", "mask"])


def test_required_parameters_have_no_default() -> None:
    assert forward_parameters(Net()) == ("image", "mask")


# -- the exported graph ----------------------------------------------------------------------------------------------


def test_ports_are_named_after_the_parameters_and_numbered(exported: ir.Model) -> None:
    assert [(value.name, static_shape(value)) for value in exported.graph.inputs] == [
        ("image", (1, 3, 5, 8)),
        ("mask", (1, 1, 5, 8)),
    ]
    assert [value.name for value in exported.graph.outputs] == ["output_0", "output_1", "output_2"]


def test_nodes_carry_their_module_and_the_shared_module_is_counted(exported: ir.Model) -> None:
    convs = [(node.name, node.metadata_props) for node in exported.graph if node.op_type == "Conv"]
    assert convs == [
        ("stages.0.0/Conv", {MODULE_KEY: "stages.0.0"}),
        ("stages.1/Conv", {MODULE_KEY: "stages.1"}),
        ("stages.1/Conv_1", {MODULE_KEY: "stages.1"}),
    ]
    assert [node.name for node in exported.graph if node.op_type == "Add"] == ["/Add"]


def test_graph_computes_what_the_module_does(exported: ir.Model) -> None:
    torch.manual_seed(0)
    module = Net().eval()
    inputs = {name: torch.rand(tensor.shape) for name, tensor in INPUTS.items()}
    with torch.no_grad():
        reference = module(**inputs)
    results = _run(exported, **inputs)
    for expected, result in zip([reference["y"], *reference["rest"]], results, strict=True):
        np.testing.assert_allclose(result, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_nothing_of_the_machine_is_left_in_the_file(exported: ir.Model) -> None:
    data = to_bytes(exported)
    assert b"File " not in data
    assert str(Path(__file__).parent).encode() not in data
    assert b"pkg.torch" not in data


def test_same_module_gives_the_same_bytes_whatever_the_order_of_the_inputs(exported: ir.Model) -> None:
    torch.manual_seed(0)
    assert to_bytes(to_onnx(Net(), dict(reversed(INPUTS.items())))) == to_bytes(exported)


def test_module_keeps_its_modes() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Dropout())
    module[0].eval()
    to_onnx(module, {"input": torch.ones(1, 2)})
    assert [part.training for part in (module, *module)] == [True, False, True]


def test_export_is_silent(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    levels = {name: logging.getLogger(name).level for name in ("torch", "torch.onnx", "onnxscript")}
    to_onnx(nn.Conv2d(1, 1, 1), {"input": torch.ones(1, 1, 2, 2)})
    assert capfd.readouterr() == ("", "")
    assert len(recwarn) == 0
    assert levels == {name: logging.getLogger(name).level for name in levels}


@pytest.mark.parametrize("epsilon", [1e-16, 1e-12, 1e-8])
def test_small_epsilon_is_kept(epsilon: float) -> None:
    class Normalise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.relu()
            return x / (x + epsilon)

    graph = to_onnx(Normalise(), {"x": torch.ones(1, 1, 2, 3)})
    assert np.isfinite(_run(graph, x=torch.zeros(1, 1, 2, 3))[0]).all()


def test_ports_are_apart_even_when_the_model_passes_them_on() -> None:
    class PassOn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output_0 = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor, unread: Tensor) -> tuple[Tensor, ...]:
            y = x + self.output_0
            return y, y, x, self.output_0

    x = torch.arange(3.0)
    graph = to_onnx(PassOn(), {"x": x, "unread": x})
    assert [value.name for value in graph.graph.inputs] == ["x", "unread"]
    names = [value.name for value in graph.graph.outputs]
    assert names == ["output_0", "output_1", "output_2", "output_3"]
    for expected, result in zip([x + 1, x + 1, x, torch.ones(3)], _run(graph, x=x, unread=x), strict=True):
        np.testing.assert_array_equal(result, expected.numpy())


# -- what is refused -------------------------------------------------------------------------------------------------


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x * 2
        return x


class Measure(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, : int(x.max())]


class Select(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


class Leave(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy() * 2)


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 16:
            raise ValueError("the width must be a multiple of 16")
        return x


class Decompose(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svd(x)[0]


class Return(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("module", "message", "line"),
    [
        (Branch(), "control flow that depends on the data", "if x.sum() > 0:"),
        (Measure(), "control flow that depends on the data", "return x[:, : int(x.max())]"),
        (Select(), "size depends on the data", "return x[x > 0]"),
        (Leave(), "torch.export cannot trace Leave", "return torch.from_numpy(x.numpy() * 2)"),
        (Picky(), "refuses inputs of shape x 1x3x4x5: the width must be a multiple of 16", "raise ValueError"),
        (Decompose(), "cannot convert the model: operator aten._linalg_svd", "return torch.linalg.svd(x)[0]"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_untraceable_model_is_refused_with_the_users_line(module: nn.Module, message: str, line: str) -> None:
    with pytest.raises(ModelError) as raised:
        to_onnx(module, {"x": torch.ones(1, 3, 4, 5)})
    assert message in raised.value.message
    assert f"{__file__}:" in raised.value.message
    assert line in raised.value.message
    assert raised.value.hint


def test_wrong_channels_are_refused_in_the_models_own_words() -> None:
    with pytest.raises(ModelError, match=r"Conv2d refuses inputs of shape input 1x1x4x5: .*expected input.*3 channels"):
        to_onnx(nn.Conv2d(3, 2, 1), {"input": torch.ones(1, 1, 4, 5)})


@pytest.mark.parametrize("value", [3, "mask", None, {"depth": 1.0}, object()])
def test_output_that_is_no_tensor_is_refused(value: Any) -> None:
    with pytest.raises(ModelError, match="where tensors were expected"):
        to_onnx(Return(value), {"x": torch.ones(1, 3)})


def test_model_that_returns_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="returns no tensor"):
        to_onnx(Return(()), {"x": torch.ones(1, 3)})


@pytest.mark.parametrize(
    ("names", "message"),
    [(["image"], "no input for 'mask'"), (["image", "mask", "depth"], "unknown 'depth'"), ([], "no input for 'image'")],
)
def test_inputs_that_do_not_fit_are_refused_with_the_parameters(names: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        to_onnx(Net(), {name: torch.ones(1, 3, 4, 4) for name in names})
    assert "Net.forward(image, mask, gain)" in raised.value.message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    module = Net()
    module.stages[0][1].running_var[1] = value
    with pytest.raises(CheckpointError, match=r"stages\.0\.1\.running_var"):
        to_onnx(module, INPUTS)


def test_mask_of_minus_infinity_is_no_broken_weight() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return (x + self.mask).softmax(-1)

    graph = to_onnx(Masked(), {"x": torch.ones(1, 3)})
    np.testing.assert_allclose(_run(graph, x=torch.ones(1, 3))[0], [[0.5, 0.0, 0.5]])


class Decision(nn.Module):
    """A model that ends in a decision instead of in what it is based on."""

    def __init__(self, decide: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.decide = nn.Conv2d(1, 3, 1), decide

    def forward(self, image: Tensor) -> Tensor:
        return self.decide(self.body(image))


@pytest.mark.parametrize(
    ("decide", "kind", "operator"),
    [(lambda x: x.argmax(1), "int64", "ArgMax"), (lambda x: x > 0, "bool", "Greater")],
    ids=["classes", "mask"],
)
def test_output_that_is_a_decision_is_refused_with_its_operator(
    decide: Callable[[Tensor], Tensor], kind: str, operator: str
) -> None:
    with pytest.raises(ModelError, match=rf"output 'output' is {kind}.*computed by {operator} .*End the model before"):
        to_onnx(Decision(decide), {"image": torch.ones(1, 1, 4, 4)})


def test_output_of_double_precision_is_refused() -> None:
    with pytest.raises(ModelError, match=r"is double; .*module\.float\(\)"):
        to_onnx(Decision(lambda x: x.double()), {"image": torch.ones(1, 1, 4, 4)})


# -- exported programs -----------------------------------------------------------------------------------------------


class Up(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        x = self.body(image)
        return nn.functional.interpolate(x.view(x.shape[0], 4, x.shape[2], -1), scale_factor=2.0)


def test_saved_program_keeps_its_names() -> None:
    stream = io.BytesIO()
    torch.export.save(torch.export.export(Up(), (torch.ones(1, 3, 4, 6),)), stream)
    stream.seek(0)
    graph = to_onnx(torch.export.load(stream), {"image": torch.ones(1, 3, 4, 6)})
    assert [value.name for value in graph.graph.inputs] == ["image"]
    assert next(iter(graph.graph)).name == "body.0/Conv"


def test_dynamic_program_is_fixed_to_the_example() -> None:
    auto = torch.export.Dim.AUTO
    program = torch.export.export(Up(), (torch.ones(2, 3, 4, 6),), dynamic_shapes={"image": {2: auto, 3: auto}})
    graph = to_onnx(program, {"image": torch.ones(2, 3, 5, 9)})
    assert static_shape(graph.graph.inputs[0]) == (2, 3, 5, 9)
    FoldConstants().apply(graph)  # the size of the output is computed from the shape of the input
    assert static_shape(graph.graph.outputs[0]) == (2, 4, 10, 18)


def test_program_refuses_other_inputs() -> None:
    program = torch.export.export(Up(), (torch.ones(1, 3, 4, 6),))
    with pytest.raises(ModelError, match="takes 'image', given 'x'"):
        to_onnx(program, {"x": torch.ones(1, 3, 4, 6)})
    with pytest.raises(UsageError, match="does not fit"):
        to_onnx(program, {"image": torch.ones(1, 3, 8, 8)})


# -- .onnx files -----------------------------------------------------------------------------------------------------

FLATTEN = """<ir_version: {ir}, opset_import: ["" : {opset}]>
g (float[{shape}] image) => (float[n, k] scores) <float[2,3,1,1] w = {{{weights}}}> {{
    ["/encoder/encoder.0/conv/Conv"] c = Conv(image, w)
    s = Shape(c)  zero = Constant<value = int64 {{0}}>()  n = Gather(s, zero)
    axes = Constant<value = int64[1] {{0}}>()  n1 = {unsqueeze}
    rest = Constant<value = int64[1] {{-1}}>()  target = Concat<axis = 0>(n1, rest)  scores = Reshape(c, target)
}}"""


@pytest.fixture
def write_onnx(tmp_path: Path) -> Callable[..., Path]:
    def write(opset: int = 18, shape: str = "n,3,h,w", weights: str = "1,2,3,4,5,6") -> Path:
        unsqueeze = "Unsqueeze(n, axes)" if opset >= 13 else "Unsqueeze<axes = [0]>(n)"
        text = FLATTEN.format(ir=8, opset=opset, shape=shape, weights=weights, unsqueeze=unsqueeze)
        path = tmp_path / "model.onnx"
        onnx.save(onnx.parser.parse_model(text), path)
        return path

    return write


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
def test_any_opset_and_dynamic_shape_become_ours(write_onnx: Callable[..., Path], opset: int) -> None:
    model = load_onnx(write_onnx(opset), {"image": (2, 3, 4, 5)})
    assert model.opset_imports[""] == 18
    assert static_shape(model.graph.inputs[0]) == (2, 3, 4, 5)
    assert static_shape(model.graph.outputs[0]) == (2, 40)
    assert model.graph.outputs[0].name == "scores"
    image = torch.rand(2, 3, 4, 5)
    weight = torch.arange(1.0, 7).reshape(2, 3, 1, 1)
    np.testing.assert_allclose(
        _run(model, image=image)[0], nn.functional.conv2d(image, weight).reshape(2, -1), rtol=1e-5
    )


def test_module_paths_are_read_from_node_names(write_onnx: Callable[..., Path]) -> None:
    model = load_onnx(write_onnx(20), {"image": (1, 3, 4, 4)})
    conv = next(iter(model.graph))
    assert conv.name == "/encoder/encoder.0/conv/Conv"
    assert conv.metadata_props == {MODULE_KEY: "encoder.0.conv"}
    names = [node.name for node in model.graph]
    assert all(names)
    assert len(set(names)) == len(names)


def test_fixed_shape_needs_none_and_refuses_another(write_onnx: Callable[..., Path]) -> None:
    path = write_onnx(shape="1,3,4,5")
    assert static_shape(load_onnx(path).graph.outputs[0]) == (1, 40)
    with pytest.raises(UsageError, match=r"\[1, 3, 8, 8\] does not fit"):
        load_onnx(path, {"image": (1, 3, 8, 8)})


def test_dynamic_shape_must_be_given(write_onnx: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="'image' has dynamic dimensions") as raised:
        load_onnx(write_onnx())
    assert "--input-shape image=" in raised.value.hint


def test_unknown_input_is_refused_with_the_known_ones(write_onnx: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="no input 'pixels'; it has 'image'"):
        load_onnx(write_onnx(), {"pixels": (1, 3, 8, 8)})


def test_nan_in_an_initialiser_is_named(write_onnx: Callable[..., Path]) -> None:
    path = write_onnx()
    proto = onnx.load(path)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((2, 3, 1, 1), np.nan, np.float32), "w"))
    onnx.save(proto, path)
    with pytest.raises(CheckpointError, match=r"NaN or infinity in 'w'"):
        load_onnx(path, {"image": (1, 3, 4, 4)})


def test_input_of_8_bits_is_refused(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (uint8[1,3,4,4] image) => (float[1,3,4,4] y) { y = Cast<to = 1>(image) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"input 'image' is uint8; .*--mean and --std"):
        load_onnx(tmp_path / "model.onnx")


def test_external_data_are_read_and_missed(write_onnx: Callable[..., Path]) -> None:
    path = write_onnx()
    proto = onnx.load(path)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w"))
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert load_onnx(path, {"image": (1, 3, 4, 4)}).graph.initializers["w"].const_value is not None
    (path.parent / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights\.bin"):
        load_onnx(path, {"image": (1, 3, 4, 4)})


def test_weights_among_the_inputs_are_no_ports(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["" : 9]> g (float[1,3,4,4] x, float[2,3,1,1] w) => (float[1,2,4,4] y)
    <float[2,3,1,1] w = {1,2,3,4,5,6}> { y = Conv(x, w) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "old.onnx")
    assert [value.name for value in load_onnx(tmp_path / "old.onnx").graph.inputs] == ["x"]


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG not a model", b"PK\x03\x04"])
def test_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EdgeconvError, match=r"model\.onnx"):
        load_onnx(path)


class _One(torch.nn.Module):
    def forward(self, output: torch.Tensor) -> torch.Tensor:
        return output * 2


class _Several(torch.nn.Module):
    def forward(self, output_0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return output_0 * 2, output_0 + 1


@pytest.mark.parametrize(("net", "name"), [(_One(), "output"), (_Several(), "output_0")])
def test_an_input_may_be_called_as_outputs_are(net: torch.nn.Module, name: str) -> None:
    graph = to_onnx(net, {name: torch.ones(1, 2)})
    names = [str(value.name) for value in [*graph.graph.inputs, *graph.graph.outputs]]
    assert names[0] == name
    assert len(set(names)) == len(names)
