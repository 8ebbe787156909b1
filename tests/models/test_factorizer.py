from __future__ import annotations

import pytest
import torch

from edgeconv.errors import ModelError, UsageError
from edgeconv.models.factorizer import ChannelNorm, Factorizer, nmf_layers
from edgeconv.models.macs import count_parameters

WIDTHS = (32, 64, 128, 256, 512)
SMALL = {"size": (16, 24), "widths": (8, 16), "window": 4, "shifts": (0, 2)}


def small(**options):
    torch.manual_seed(0)
    return Factorizer(2, 3, **{**SMALL, **options}).eval()


@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "ratio", "parameters"),
    [(4, 3, 128, 2, 5_855_619), (4, 3, 128, 4, 7_603_459), (2, 1, 64, 4, 7_372_289)],
    ids=["BraTS", "BraTS'23", "ISLES'22"],
)
def test_the_published_counts(inputs, outputs, side, ratio, parameters):
    with torch.device("meta"):
        model = Factorizer(inputs, outputs, (side,) * 3, WIDTHS, mlp_ratio=ratio)
    assert count_parameters(model) == parameters
    assert len(nmf_layers(model)) == 9


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("solver", ["hals", "mu"])
def test_no_parameter_depends_on_the_factorisation(rank, solver):
    assert count_parameters(small(rank=rank, solver=solver)) == count_parameters(small())


@pytest.mark.parametrize("size", [(16, 24), (8, 16, 8)])
@pytest.mark.parametrize("rank", [1, 2])
def test_shapes_in_two_and_three_dimensions(size, rank):
    model = small(size=size, rank=rank)
    assert model(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_an_all_zero_image_stays_finite():
    for solver in ("hals", "mu"):
        for rank in (1, 2):
            assert bool(torch.isfinite(small(solver=solver, rank=rank)(torch.zeros(1, 2, 16, 24))).all())


def test_iterations_are_a_dial_on_a_trained_model():
    model = small()
    x = torch.randn(1, 2, 16, 24)
    five = model(x)

    def change(iterations):
        for layer in nmf_layers(model).values():
            layer.iterations = iterations
        return float((model(x) - five).detach().norm())

    assert change(5) == 0
    assert change(4) < change(1)


def test_channel_norm_is_that_of_torch():
    layer = ChannelNorm(5)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(5))
        layer.bias.copy_(torch.rand(5))
    x = torch.randn(2, 5, 3, 4)
    expected = torch.nn.functional.layer_norm(x.movedim(1, -1), (5,), layer.weight, layer.bias).movedim(-1, 1)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_components_are_non_negative_maps_of_each_window():
    mixer = small().encoder[0].mixer
    u, v = mixer.components(torch.randn(1, 8, 16, 24))
    assert u.shape == (2, 24, 8, 1)
    assert v.shape == (2, 24, 16, 1)
    assert float(min(u.min(), v.min())) >= 0


def test_gradients_reach_every_parameter():
    model = small(rank=2)
    model(torch.randn(1, 2, 16, 24)).square().mean().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_the_exported_graph_has_neither_scatter_nor_gather_and_keeps_its_epsilon():
    import onnxruntime

    model = small(rank=2)
    program = torch.onnx.export(model, (torch.randn(1, 2, 16, 24),), dynamo=True, verbose=False)
    operators = [node.op_type for node in program.model.graph]
    assert not {"ScatterND", "GatherND", "ScatterElements", "Gather", "Einsum"} & set(operators)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    for x in (torch.randn(1, 2, 16, 24), torch.zeros(1, 2, 16, 24)):
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert torch.allclose(torch.from_numpy(found), model(x), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"size": (15, 24)}, ModelError, "cannot be halved"),
        ({"size": (16,)}, UsageError, "2 or 3 axes"),
        ({"widths": (6, 12)}, UsageError, "head_dim"),
        ({"epsilon": 1e-9}, UsageError, "at least 1e-06"),
        ({"rank": 9}, UsageError, "rank"),
    ],
)
def test_bad_options_are_named(options, error, words):
    with pytest.raises(error, match=words):
        small(**options)
