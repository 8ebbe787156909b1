"""Fundus-like images: a vessel tree on an unevenly lit retina with disc, macula, texture, lesions and noise."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgeconv.training.tasks.vessel_tree import Eye, draw_tree, grow_tree

__all__ = ["fundus_image"]

_Float = npt.NDArray[np.float32]


def fundus_image(rng: np.random.Generator, size_px: int = 256) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """One synthetic fundus photograph (green channel) and its vessel mask.

    Returns:
        The 8-bit image and the mask of 0 and 1 (vessel covers half of the pixel or more), both HxW uint8.
    """
    from scipy.ndimage import gaussian_filter

    eye = _eye(rng, size_px)
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32)
    absorbed, covered = draw_tree(grow_tree(rng, eye), size_px)
    field = _field_of_view(rng, eye, x, y)

    retina = _illuminated_retina(rng, eye, x, y)
    retina += _lesions(rng, eye, x, y)
    retina = np.maximum(retina, 0.02) * (1 - absorbed)
    image = gaussian_filter(retina * field, rng.uniform(0.35, 0.75))
    image += _noise(rng, image)
    pixels = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    mask = ((covered >= 0.5) & (field > 0.5)).astype(np.uint8)
    return pixels, mask


def _eye(rng: np.random.Generator, size_px: int) -> Eye:
    radius = size_px * rng.uniform(0.46, 0.51)
    cx, cy = size_px / 2 + rng.normal(0, 0.008 * size_px, 2)
    side = rng.choice((-1.0, 1.0))
    disc = (cx + side * radius * rng.uniform(0.4, 0.78), cy + radius * rng.normal(0, 0.08))
    disc_radius = radius * rng.uniform(0.1, 0.15)
    macula = (disc[0] - side * radius * rng.uniform(0.62, 0.78), disc[1] + radius * rng.normal(0.06, 0.06))
    return Eye(size_px, (float(cx), float(cy)), float(radius), disc, disc_radius, macula)


def _field_of_view(rng: np.random.Generator, eye: Eye, x: _Float, y: _Float) -> _Float:
    """1 inside the camera's round field, 0 outside; some cameras have a notch at its rim."""
    inside = np.hypot(x - eye.centre[0], y - eye.centre[1]) < eye.radius_px
    if rng.random() < 0.3:
        angle = rng.uniform(0, 2 * math.pi)
        nx = eye.centre[0] + eye.radius_px * math.cos(angle)
        ny = eye.centre[1] + eye.radius_px * math.sin(angle)
        c, s = math.cos(angle), math.sin(angle)
        u, v = (x - nx) * c + (y - ny) * s, -(x - nx) * s + (y - ny) * c
        inside |= (np.abs(u) < rng.uniform(4, 8)) & (np.abs(v) < rng.uniform(4, 8))
    return np.asarray(inside, dtype=np.float32)


def _illuminated_retina(rng: np.random.Generator, eye: Eye, x: _Float, y: _Float) -> _Float:
    r = eye.radius_px
    u, v = (x - eye.centre[0]) / r, (y - eye.centre[1]) / r
    light = 1 + rng.normal(0, 0.12) * u + rng.normal(0, 0.12) * v - rng.uniform(0, 0.35) * (u * u + v * v)
    light *= 1 + rng.uniform(0.02, 0.1) * _smooth_noise(rng, eye.size_px, rng.uniform(18, 40))
    # Choroid and pigment: texture at several scales, the finer the weaker.
    for scale_px, strength in ((7.0, 0.03), (3.0, 0.022), (1.3, 0.022)):
        light *= 1 + strength * rng.uniform(0.1, 1.0) * _smooth_noise(rng, eye.size_px, scale_px)
    light *= 1 + rng.uniform(0, 0.03) * _nerve_fibres(rng, eye, x, y)

    mx, my = x - eye.macula[0], y - eye.macula[1]
    d2 = (mx * mx + 1.2 * my * my) / (r * r)
    light *= 1 - rng.uniform(0.1, 0.5) * np.exp(-d2 / (2 * rng.uniform(0.06, 0.13) ** 2))
    light *= 1 - rng.uniform(0.0, 0.35) * np.exp(-d2 / (2 * rng.uniform(0.015, 0.045) ** 2))
    if rng.random() < 0.5:  # the reflex in the pit of the fovea
        light *= 1 + rng.uniform(0.05, 0.3) * np.exp(-d2 / (2 * rng.uniform(0.006, 0.014) ** 2))
    # The rim of the field is often darker.
    light *= 1 - rng.uniform(0, 0.5) * np.exp((np.hypot(u, v) - 1) * rng.uniform(10, 60)).clip(max=1)

    level = rng.uniform(0.2, 0.55)
    return (level * light + level * _disc(rng, eye, x, y)).astype(np.float32)


def _disc(rng: np.random.Generator, eye: Eye, x: _Float, y: _Float) -> _Float:
    """What the optic disc adds: a plateau with a soft, slightly irregular rim, a brighter cup, a glow around."""
    dx, dy = x - eye.disc[0], y - eye.disc[1]
    distance = np.hypot(dx * rng.uniform(0.95, 1.2), dy)
    rim = eye.disc_radius_px * (1 + 0.06 * np.cos(2 * np.arctan2(dy, dx) + rng.uniform(0, 6.3)))
    plateau = 1 / (1 + np.exp((distance - rim) / rng.uniform(0.7, 2.5)))
    cup_radius = eye.disc_radius_px * rng.uniform(0.25, 0.55)
    cx, cy = rng.normal(0, 0.2 * eye.disc_radius_px, 2)
    cup = np.exp(-((dx - cx) ** 2 + (dy - cy) ** 2) / (2 * (0.6 * cup_radius) ** 2))
    glow = np.exp(-((distance / (2.2 * eye.disc_radius_px)) ** 2))
    added = rng.uniform(0.4, 1.4) * plateau + rng.uniform(0.1, 0.9) * cup + rng.uniform(0, 0.25) * glow
    for sign in (-0.4, 0.5):  # a dark crescent of pigment and a bright one of atrophy along the rim
        if rng.random() < 0.5:
            facing = np.cos(np.arctan2(dy, dx) - rng.uniform(0, 2 * math.pi)).clip(min=0) ** rng.uniform(1, 6)
            away = (distance - rim - rng.uniform(0, 2)) / rng.uniform(0.8, 2.5)
            added += sign * rng.uniform(0.2, 1) * facing * np.exp(-(away**2))
    return np.asarray(added)


def _nerve_fibres(rng: np.random.Generator, eye: Eye, x: _Float, y: _Float) -> _Float:
    """Fine streaks that leave the disc, brightest close to it."""
    dx, dy = x - eye.disc[0], y - eye.disc[1]
    angle, distance = np.arctan2(dy, dx), np.hypot(dx, dy)
    streaks = np.convolve(rng.standard_normal(1024), np.hanning(9), mode="same")[((angle + math.pi) * 162).astype(int)]
    return np.asarray(streaks * np.exp(-distance / (0.6 * eye.radius_px)) * (distance > 8), dtype=np.float32)


def _lesions(rng: np.random.Generator, eye: Eye, x: _Float, y: _Float) -> _Float:
    """Distractors that are no vessels: dark blots (haemorrhages), bright spots (exudates), pigment at the disc."""
    change = np.zeros_like(x)
    blots = rng.poisson(3) if rng.random() < 0.5 else 0
    spots = rng.poisson(4) if rng.random() < 0.5 else 0
    for k in range(blots + spots):
        angle, reach = rng.uniform(0, 2 * math.pi), eye.radius_px * math.sqrt(rng.random())
        px, py = eye.centre[0] + reach * math.cos(angle), eye.centre[1] + reach * math.sin(angle)
        change += _blot(rng, x - px, y - py, rng.uniform(0.8, 4.5)) * (
            -rng.uniform(0.03, 0.12) if k < blots else rng.uniform(0.03, 0.2)
        )
    if rng.random() < 0.5:
        start = rng.uniform(0, 2 * math.pi)
        for angle in start + rng.uniform(0, 1.0, 3):
            px = eye.disc[0] + 1.05 * eye.disc_radius_px * math.cos(angle)
            py = eye.disc[1] + 1.05 * eye.disc_radius_px * math.sin(angle)
            change -= rng.uniform(0.05, 0.15) * _blot(rng, x - px, y - py, rng.uniform(1.0, 2.2))
    return change


def _blot(rng: np.random.Generator, dx: _Float, dy: _Float, size_px: float) -> _Float:
    turn, stretch = rng.uniform(0, math.pi), rng.uniform(1, 2)
    u = dx * math.cos(turn) + dy * math.sin(turn)
    v = dy * math.cos(turn) - dx * math.sin(turn)
    return np.asarray(np.exp(-((((u / stretch) ** 2 + v**2) / size_px**2) ** 1.5)), dtype=np.float32)


def _smooth_noise(rng: np.random.Generator, size_px: int, scale_px: float) -> _Float:
    """Gaussian noise of unit variance, correlated over about `scale_px`."""
    from scipy.ndimage import gaussian_filter, zoom

    if scale_px > 5:  # coarse noise is made small and enlarged: the same field at a fraction of the time
        coarse = max(4, math.ceil(size_px / scale_px * 2) + 1)
        noise = gaussian_filter(rng.standard_normal((coarse, coarse), dtype=np.float32), 1.2)
        noise = zoom(noise, size_px / coarse, order=1 if scale_px < 10 else 3)[:size_px, :size_px]
    else:
        noise = gaussian_filter(rng.standard_normal((size_px, size_px), dtype=np.float32), scale_px)
    return np.asarray(noise / (noise.std() + 1e-6), dtype=np.float32)


def _noise(rng: np.random.Generator, image: _Float) -> _Float:
    """Shot noise and read-out noise, sometimes smoothed as a camera's own processing does it."""
    from scipy.ndimage import gaussian_filter

    strength = 0.001 * 14 ** rng.random()
    noise = rng.standard_normal(image.shape, dtype=np.float32) * strength * (0.3 + np.sqrt(np.maximum(image, 0)))
    return np.asarray(gaussian_filter(noise, 0.6) * 1.8 if rng.random() < 0.5 else noise, dtype=np.float32)
