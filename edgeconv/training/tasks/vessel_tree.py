"""Procedurally grown vessel trees: branching, tapering, tortuous, rooted at an optic disc."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

__all__ = ["Eye", "Segment", "draw_tree", "grow_tree"]

_OVERSAMPLING = 4  # the tree is drawn this much finer than the image, then averaged
_MINIMUM_WIDTH_PX = 1.15
_MAXIMUM_SEGMENTS = 2500
_FULL_SCALE = 0.55  # the contrast that the 8-bit canvas shows as 255


@dataclasses.dataclass(frozen=True)
class Eye:
    """Where the landmarks of one image lie, in pixels (x to the right, y downwards)."""

    size_px: int
    centre: tuple[float, float]
    radius_px: float
    disc: tuple[float, float]
    disc_radius_px: float
    macula: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Segment:
    """A straight piece of a vessel; `contrast` is the share of light it takes away, `artery` has a bright middle."""

    start: tuple[float, float]
    end: tuple[float, float]
    width_px: float
    contrast: float
    artery: bool


@dataclasses.dataclass(frozen=True)
class _Branch:
    x: float
    y: float
    heading: float
    width_px: float
    bend_per_px: float  # the planned curvature, rad/px; a trunk's carries it round the macula
    bend_length_px: float
    artery: bool
    depth: int


def grow_tree(rng: np.random.Generator, eye: Eye) -> list[Segment]:
    """Grow the trees of one eye: up to ten trunks leave the disc, each tapers, bends and branches (Murray's cube law).

    A vessel ends when it leaves the field of view, enters the avascular middle of the macula or gets too thin.
    """
    strength = rng.uniform(0.6, 1.5)  # of all the vessels of this eye
    pending = _trunks(rng, eye)
    segments: list[Segment] = []
    while pending and len(segments) < _MAXIMUM_SEGMENTS:
        _grow_branch(rng, eye, pending.pop(0), strength, pending, segments)
    return segments


def draw_tree(segments: list[Segment], size_px: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Draw segments: (share of light taken away, share of the pixel covered by a vessel), each HxW in 0..1."""
    side = size_px * _OVERSAMPLING
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    for segment in sorted(segments, key=lambda s: s.contrast):
        _stroke(pen, segment, segment.width_px, segment.contrast)
    covered = canvas.point([0] + [255] * 255)
    for segment in segments:
        if segment.artery and segment.width_px > 2.5:
            _stroke(pen, segment, 0.3 * segment.width_px, 0.6 * segment.contrast)
    return _shrink(canvas, size_px) * np.float32(_FULL_SCALE), _shrink(covered, size_px)


def _trunks(rng: np.random.Generator, eye: Eye) -> list[_Branch]:
    dx, dy = eye.macula[0] - eye.disc[0], eye.macula[1] - eye.disc[1]
    to_macula = math.atan2(dy, dx)
    widest = rng.uniform(3.4, 6.0) * eye.size_px / 256
    trunks = []
    for side in (-1.0, 1.0):
        for artery in (False, True):
            # Temporal arcades leave upwards or downwards and bend round the macula.
            angle = rng.uniform(1.0, 1.75)
            length = rng.uniform(0.6, 1.3) * eye.radius_px
            turn = angle - rng.uniform(-0.1, 0.6)
            trunks.append(_trunk(rng, eye, to_macula + side * angle, -side * turn / length, length, widest, artery))
            if rng.random() < 0.85:  # nasal ones run away from the macula, nearly straight
                angle = rng.uniform(2.0, 3.0)
                bend = rng.normal(0, 0.3) / eye.radius_px
                thinner = widest * rng.uniform(0.45, 0.85)
                trunks.append(_trunk(rng, eye, to_macula + side * angle, bend, eye.radius_px, thinner, artery))
        if rng.random() < 0.6:  # a small one straight to the macula
            heading = to_macula + side * rng.uniform(0.15, 0.8)
            bend = rng.normal(0, 0.4) / eye.radius_px
            trunks.append(_trunk(rng, eye, heading, bend, eye.radius_px, 0.5 * widest, rng.random() < 0.5))
    return trunks


def _trunk(
    rng: np.random.Generator, eye: Eye, heading: float, bend: float, bend_length: float, width: float, artery: bool
) -> _Branch:
    offset = rng.uniform(0, 0.5) * eye.disc_radius_px
    x = eye.disc[0] + offset * math.cos(heading) + rng.normal(0, 0.15) * eye.disc_radius_px
    y = eye.disc[1] + offset * math.sin(heading) + rng.normal(0, 0.15) * eye.disc_radius_px
    width *= rng.uniform(0.7, 1.0) * (0.8 if artery else 1.0)
    return _Branch(x, y, heading, max(width, 1.5), bend, bend_length, artery, 0)


def _grow_branch(
    rng: np.random.Generator, eye: Eye, branch: _Branch, strength: float, pending: list[_Branch], out: list[Segment]
) -> None:
    x, y, course, width = branch.x, branch.y, branch.heading, branch.width_px
    scale = eye.size_px / 256
    step = 3.0 * scale
    taper = rng.uniform(0.0005, 0.0018) / scale  # per pixel
    tortuosity = rng.uniform(0.1, 0.32)  # rad, how far the heading strays from the course
    wobble, drift, travelled = 0.0, 0.0, 0.0
    to_branch = (rng.exponential(16) + 8) * scale
    limit = rng.uniform(0.2, 0.6) * eye.radius_px if branch.depth >= 2 else 4 * eye.radius_px
    while width > _MINIMUM_WIDTH_PX and travelled < limit and len(out) < _MAXIMUM_SEGMENTS:
        drift = 0.75 * drift + rng.normal(0, 0.2 * tortuosity)  # wanders smoothly, is drawn back to 0
        wobble = 0.94 * wobble + drift
        if travelled < branch.bend_length_px:
            course += branch.bend_per_px * step
        nx, ny = x + step * math.cos(course + wobble), y + step * math.sin(course + wobble)
        if _outside(nx, ny, eye) or math.hypot(nx - eye.macula[0], ny - eye.macula[1]) < 0.1 * eye.radius_px:
            return
        contrast = strength * (0.06 + 0.085 * width / scale) * (0.75 if branch.artery else 1.0)
        out.append(Segment((x, y), (nx, ny), width, min(contrast, 0.5), branch.artery))
        x, y, travelled = nx, ny, travelled + step
        width *= 1 - taper * step
        to_branch -= step
        if to_branch <= 0:
            to_branch = (rng.exponential(20) + 6) * scale
            child = width * (rng.uniform(0.55, 0.85) if rng.random() < 0.3 else rng.uniform(0.3, 0.5))
            child = max(child, rng.uniform(1.2, 1.5) * scale)
            if branch.depth < 5 and child < 0.9 * width:
                side = rng.choice((-1.0, 1.0))
                angle = side * rng.uniform(0.5, 1.35)
                length = rng.uniform(20, 60) * scale
                bend = -angle * rng.uniform(-0.1, 0.6) / length
                heading = course + wobble + angle
                pending.append(_Branch(x, y, heading, child, bend, length, branch.artery, branch.depth + 1))
                width = max(width**3 - 0.7 * child**3, 0.0) ** (1 / 3)  # Murray's law, a little relaxed
                course -= 0.1 * angle


def _outside(x: float, y: float, eye: Eye) -> bool:
    return math.hypot(x - eye.centre[0], y - eye.centre[1]) > eye.radius_px + 4


def _stroke(pen: ImageDraw.ImageDraw, segment: Segment, width_px: float, contrast: float) -> None:
    (x0, y0), (x1, y1) = segment.start, segment.end
    k = float(_OVERSAMPLING)
    fill = max(1, min(255, round(255 * contrast / _FULL_SCALE)))
    pen.line((x0 * k, y0 * k, x1 * k, y1 * k), fill=fill, width=max(1, round(width_px * k)))
    r = 0.5 * width_px * k
    if r > 3:  # round joints; thinner ones have no visible gap
        pen.ellipse((x1 * k - r, y1 * k - r, x1 * k + r, y1 * k + r), fill=fill)


def _shrink(canvas: Image.Image, size_px: int) -> npt.NDArray[np.float32]:
    small = canvas.resize((size_px, size_px), Image.Resampling.BOX)
    return np.asarray(np.asarray(small) / 255, dtype=np.float32)
