"""Make the pictures and the table of docs/factorizer.md: ``python docs/pictures/make_factorizer.py``."""

from __future__ import annotations

import time

import matplotlib as mpl
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeconv.models.checkpoint import load_weights
from edgeconv.models.factorizer import FactMixer, Factorizer, nmf_layers
from edgeconv.models.nmf_components import nmf_components
from edgeconv.training.tasks import get_task

mpl.use("Agg")
import matplotlib.pyplot as plt
from pages import save

LAYERS = ("encoder.0.mixer", "encoder.1.mixer", "decoder.1.mixer")
SIDES = (16, 32, 48, 64, 96)
WIDTHS, WINDOW = (16, 32, 64), 4  # of the networks in the cost curve; a window of 4 fits the smallest map
REPEATS = 3


class GlobalAttention(nn.Module):
    """The peer of `FactMixer`: 1x1, softmax attention of every position to every other, 1x1; heads of 8 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        self.heads = channels // 8

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        query, key, value = self.in_proj(x).reshape(len(x), 3, self.heads, 8, -1).transpose(-1, -2).unbind(1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(-1, -2).reshape(x.shape))


def main() -> None:
    """Write all pictures, and print the table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    components()
    cost()


def components() -> None:
    """A retina tile, what the trained network makes of it, and the components of three of its layers."""
    task = get_task("vessels-factorizer")
    model = task.build_model(*task.input_shape[2:])
    load_weights(model, task.checkpoint_path)
    model.eval()
    image = torch.from_numpy(task.evaluation(1)[0]) / 255  # 8-bit
    with torch.no_grad():
        vessels = torch.sigmoid(model(image))
    rows = [[("image", image[0, 0]), ("vessels found", vessels[0, 0])]]
    for layer in LAYERS:
        maps = nmf_components(model, image, layer).maps[0]
        rows.append([(f"{layer}, head {h}", maps[h, 0]) for h in range(min(len(maps), 4))])
    columns = max(map(len, rows))
    figure, axes = plt.subplots(len(rows), columns, figsize=(2.1 * columns, 2.3 * len(rows)), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for axis in line:
            axis.axis("off")
        for axis, (title, view) in zip(line, row, strict=False):
            axis.imshow(view, cmap="gray")
            axis.set_title(title, fontsize=8)
    save(figure, "factorizer-components.png")


def cost() -> None:
    """Multiply-accumulates and processor time against pixels, beside the network with global attention."""
    names = ("Factorizer, 5 iterations", "Factorizer, 2 iterations", "global attention")
    macs: dict[str, list[float]] = {name: [] for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for side in SIDES:
        for name in names:
            model = network(name, side)
            macs[name].append(gmacs(model, side))
            times[name].append(milliseconds(model, side))
    print("| pixels | " + " | ".join(f"{name}: MMAC, ms" for name in names) + " |\n|---|" + "---|" * len(names))
    for index, side in enumerate(SIDES):
        cells = [f"{1e3 * macs[name][index]:.1f}, {times[name][index]:.0f}" for name in names]
        print(f"| {side} x {side} | " + " | ".join(cells) + " |")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for axis, title, values in ((axes[0], "GMAC", macs), (axes[1], "processor time, ms", times)):
        for name in names:
            axis.plot([side**2 for side in SIDES], values[name], marker=".", label=name)
        axis.loglog()  # twice the slope is the square
        axis.set_xlabel("pixels")
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    save(figure, "factorizer-cost.png")


def network(name: str, side: int) -> nn.Module:
    """The network of three stages for images of this side."""
    model = Factorizer(1, 1, (side, side), WIDTHS, window=WINDOW, shifts=(0, WINDOW // 2)).eval()
    for layer in nmf_layers(model).values():
        layer.iterations = 2 if "2 iterations" in name else 5
    if name == "global attention":
        for block in [*model.encoder, *model.decoder]:
            mixer = block.mixer
            if isinstance(mixer, FactMixer):
                block.mixer = GlobalAttention(mixer.in_proj.in_channels)
    return model.eval()


def gmacs(model: nn.Module, side: int) -> float:
    """Billions of multiply-accumulates of every convolution and matrix product, by shapes alone."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.to("meta")(torch.empty(1, 1, side, side, device="meta"))
    return counter.get_total_flops() / 2e9


def milliseconds(model: nn.Module, side: int) -> float:
    """The least processor time of one thread in torch; other programs on the machine hardly move it."""
    model = model.to_empty(device="cpu")
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.uniform_(0, 0.1)
    image, samples = torch.rand(1, 1, side, side), []
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            start = time.process_time()
            model(image)
            samples.append(time.process_time() - start)
    return 1e3 * min(samples)


if __name__ == "__main__":
    main()
