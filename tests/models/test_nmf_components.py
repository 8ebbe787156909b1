from __future__ import annotations

import pytest
import torch

from edgeconv.errors import UsageError
from edgeconv.models import SmallUNet
from edgeconv.models.factorizer import Factorizer
from edgeconv.models.nmf_components import mixer_names, nmf_components


def build(rank=2, shifts=(0, 2), size=(16, 24)):
    torch.manual_seed(0)
    return Factorizer(2, 3, size, (8, 16), window=4, shifts=shifts, rank=rank, head_dim=4).eval()


@pytest.mark.parametrize("size", [(16, 24), (8, 16, 8)])
@pytest.mark.parametrize("layer", ["encoder.0.mixer", "encoder.1.mixer", "decoder.0.mixer"])
def test_the_maps_have_the_size_of_the_layers(layer, size):
    model = build(size=size)
    assert layer in mixer_names(model)
    found = nmf_components(model, torch.randn(3, 2, *size), layer)
    half = 2 if layer == "encoder.1.mixer" else 1
    heads = 2 * half
    assert found.maps.shape == (3, heads, 2, *(extent // half for extent in size))
    assert found.directions.shape[:3] == (3, 2, heads)
    assert found.directions.shape[-2:] == (4, 2)
    assert float(found.maps.min()) >= 0
    assert torch.allclose(found.directions.norm(dim=-2), torch.ones(()), atol=1e-5)


def test_maps_times_directions_are_the_output_of_the_factorisation():
    """Without shifts every position lies in one window: the map times the window's vector is the approximation."""
    model = build(shifts=(0,))
    outputs = []
    model.encoder[0].mixer.out_proj.register_forward_pre_hook(lambda _, given: outputs.append(given[0]))
    found = nmf_components(model, torch.randn(1, 2, 16, 24), "encoder.0.mixer")
    windows = found.directions[0, 0].reshape(2, 4, 6, 4, 2)
    spread = windows.repeat_interleave(4, 1).repeat_interleave(4, 2)
    made = torch.einsum("hrij,hijdr->hdij", found.maps[0], spread).reshape(1, 8, 16, 24)
    assert torch.allclose(made, outputs[0], atol=1e-5)


def test_a_bright_spot_is_a_component_where_it_is():
    model = build(rank=1, shifts=(0,))
    with torch.no_grad():
        model.stem.weight.zero_()
        model.stem.weight[:, 0, 1, 1] = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1])
        model.encoder[0].mixer.in_proj.weight.copy_(torch.eye(8)[:, :, None, None])
    image = torch.zeros(1, 2, 16, 24)
    image[0, 0, 5, 9] = 5
    maps = nmf_components(model, image, "encoder.0.mixer").maps[0].sum((0, 1))
    assert divmod(int(maps.argmax()), 24) == (5, 9)


def test_looking_changes_nothing():
    model, image = build(), torch.randn(1, 2, 16, 24)
    before = model(image)
    nmf_components(model, image, "encoder.0.mixer")
    assert torch.equal(model(image), before)
    assert not model.encoder[0].mixer._forward_pre_hooks


def test_an_unknown_layer_is_named():
    with pytest.raises(UsageError, match=r"no layer 'encoder\.9'") as error:
        nmf_components(build(), torch.zeros(1, 2, 16, 24), "encoder.9")
    assert "encoder.0.mixer" in str(error.value.hint)
    with pytest.raises(UsageError, match="no layer") as error:
        nmf_components(SmallUNet(1, 1, height=32, width=32), torch.zeros(1, 1, 32, 32), "x")
    assert "none" in str(error.value.hint)
