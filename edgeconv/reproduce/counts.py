"""Claims about parameters and costs: exact arithmetic on the real networks."""

from __future__ import annotations

import torch

from edgeconv.reproduce.claims import IN_PART, NOT, UNAVAILABLE, Row, register, verdict

__all__: list[str] = []


def _same(claim: str, condition: str, expected: int, found: int) -> Row:
    return Row(claim, condition, f"{expected:,}", f"{found:,}", verdict(found == expected))


@register("sfconv-parameters", "SFConv: over 40x fewer parameters than dense convolution")
def sfconv_parameters() -> list[Row]:
    """The U-Net at every rank scale that is printed, and at the one where 40x is reached."""
    from edgeconv.models import UNet, count_parameters

    def count(scale: float | None) -> int:
        with torch.device("meta"):
            return count_parameters(UNet(rank_scale=scale))

    dense = count(None)
    rows = [_same("parameters of the dense U-Net", "3 in, 1 out", 17_267_393, dense)]
    for scale, expected in ((0.5, 4_984_211), (0.25, 2_498_762), (0.125, 1_256_138), (0.1, 1_008_074)):
        rows.append(_same("parameters of the SFConv U-Net", f"rank scale {scale}", expected, count(scale)))
    public, lowest = dense / count(0.1), dense / count(0.04)
    rows.append(Row("over 40x fewer", "lowest scale of the public code, 0.1", "> 40", f"{public:.1f}", NOT))
    rows.append(Row("over 40x fewer", "rank scale 0.04", "> 40", f"{lowest:.1f}", verdict(lowest > 40)))
    printed = count(0.1)
    misprint = f"{printed // 2**20}.{printed % 2**20}"
    rows.append(
        Row(
            "a network of 0.10 MB",
            "the plotted size at scale 0.1 is n // 2^20 . n % 2^20 (the remainder as digits)",
            "0.10",
            f"{printed / 2**20:.2f} Mi parameters; printed as {misprint}",
            NOT,
        )
    )
    return rows


@register("coordgate-parameters", "CoordGate: shallow gated U-Nets instead of deep ones")
def coordgate_parameters() -> list[Row]:
    """The ladder of levels, and what separates two gated levels from five plain ones."""
    from edgeconv.models import CoordGateUNet, count_parameters

    def count(levels: int, *, gates: bool) -> int:
        with torch.device("meta"):
            return count_parameters(CoordGateUNet(levels=levels, height=64, width=64, gates=gates))

    expected = {
        2: (402_113, 456_641),
        3: (1_860_417, 2_030_913),
        4: (7_693_377, 8_250_945),
        5: (31_024_705, 33_003_073),
    }
    rows = []
    for levels, (plain, gated) in expected.items():
        rows.append(_same("parameters of the plain U-Net", f"{levels} levels", plain, count(levels, gates=False)))
        rows.append(_same("parameters with CoordGates", f"{levels} levels", gated, count(levels, gates=True)))
    factor = count(5, gates=False) / count(2, gates=True)
    rows.append(
        Row(
            "orders of magnitude fewer",
            "2 gated levels against 5 plain",
            ">= 10",
            f"{factor:.0f}",
            verdict(factor >= 10),
        )
    )
    return rows


@register("factorizer-parameters", "Factorizer: the published configurations")
def factorizer_parameters() -> list[Row]:
    """The three configurations, instantiated without memory."""
    from edgeconv.models import Factorizer, count_parameters

    rows = []
    for name, inputs, outputs, side, ratio, expected in (
        ("BraTS", 4, 3, 128, 2, 5_855_619),
        ("BraTS'23", 4, 3, 128, 4, 7_603_459),
        ("ISLES'22", 2, 1, 64, 4, 7_372_289),
    ):
        with torch.device("meta"):
            model = Factorizer(inputs, outputs, (side,) * 3, (32, 64, 128, 256, 512), mlp_ratio=ratio)
        rows.append(_same("parameters", name, expected, count_parameters(model)))
    return rows


@register("factorizer-cost", "Factorizer: cost linear in the number of voxels")
def factorizer_cost() -> list[Row]:
    """The authors' count of operations, and how it grows with the matrix."""
    from edgeconv.layers.nmf import nmf_flops

    decompose, reconstruct = nmf_flops(8, 512, 2, 5)
    rows = [
        _same("operations to factorise", "8 x 512, rank 2, 5 multiplicative updates", 226_240, decompose),
        _same("operations to reconstruct", "8 x 512, rank 2", 16_384, reconstruct),
    ]
    growth = nmf_flops(8, 512 * 64, 2, 5)[0] / decompose
    linear = abs(growth / 64 - 1) < 0.02
    rows.append(Row("linear complexity", "64 times the positions", "64", f"{growth:.2f}", verdict(linear)))
    return rows


@register("depthwise-cost", "Depthwise separable convolution: 9 C + C F instead of 9 C F")
def depthwise_cost() -> list[Row]:
    """The seed's example of 64 to 128 channels."""
    from edgeconv.layers.factorised import ConvShape, DepthwiseSeparable

    shape = ConvShape(64, 128, (3, 3))
    return [
        _same("dense weights", "64 to 128 channels, 3x3", 73_728, shape.dense_parameters),
        _same("depthwise separable weights", "64 to 128 channels, 3x3", 8_768, DepthwiseSeparable.weight_count(shape)),
        Row(
            "usually fewer for many output channels",
            "1 / F + 1 / k^2 < 1",
            "large F",
            "any k >= 2 with F >= 2, never k = 1",
            IN_PART,
        ),
    ]


@register("medical-data", "Accuracy on IDRiD, COVIDx-CT, BraTS and ISLES")
def medical_data() -> list[Row]:
    """What needs data sets that are not part of this project."""
    rows = []
    for claim, condition, expected in (
        ("precursor: optic disc Dice", "IDRiD, 27 test images, chosen on the test set", "92.28 dense, 96.26 best"),
        ("precursor: mean AUROC", "COVIDx-CT, 25,658 images", ".9964 dense, .9929 SFConv 0.5"),
        ("Factorizer: state of the art", "BraTS and ISLES'22, 5 folds", "tables not available"),
    ):
        rows.append(Row(claim, condition, expected, "–", UNAVAILABLE))
    return rows
