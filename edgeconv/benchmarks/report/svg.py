"""matplotlib figures as inline SVG that follows the page: its fonts, its light or dark colours, no network.

A figure is drawn in stand-in colours, one for each token of the palette; afterwards each becomes a CSS variable, so a
single drawing serves both themes.  Text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "colour", "drawing", "inline_svg", "quiet_axes", "standalone"]

PALETTE = (
    "ink",
    "muted",
    "line",
    "surface",
    "accent",
    "warn",
    "series-1",
    "series-2",
    "series-3",
    "series-4",
    "series-5",
)
_STAND_IN = "#fe01"  # two hexadecimal digits, the token's index, follow

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgeconv",
    "path.simplify": False,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "figure.dpi": 72,
    "font.size": 9,
    "axes.unicode_minus": True,
}


def colour(token: str) -> str:
    """The stand-in to draw with for a token of the palette."""
    return f"{_STAND_IN}{PALETTE.index(token):02x}"


@contextmanager
def drawing() -> Iterator[None]:
    """Settings under which figures are made: the same bytes from the same numbers, whatever the user's matplotlibrc."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        # The browser chooses the font that is shown; matplotlib's lacks the glyphs of some scripts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def quiet_axes(axes: Any) -> None:
    """Matplotlib axes without a frame or ticks, on a fine grid."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(color=colour("line"), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=colour("muted"), pad=5)


def inline_svg(figure: Figure, identifier: str, description: str) -> str:
    """`figure` as an `<svg>` element without size, ids prefixed by `identifier`, `description` for screen readers.

    Must be called inside `drawing`.
    """
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = re.sub(r"<style.*?</style>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    view_box = re.findall(r'viewBox="([^"]*)"', text)[0]
    head = f'<svg role="img" aria-label="{escape(description)}" viewBox="{view_box}" stroke-linejoin="round">'
    text = head + text[text.index(">") + 1 :]
    text = re.sub("<[^>]*>", lambda tag: _themed(tag[0], identifier), text)
    return re.sub(r"\s*\n\s*", " ", text).strip()


def standalone(svg: str) -> str:
    """What `inline_svg` gave as a file of its own, with both themes in it and the width that it was drawn for."""
    style = resources.files("edgeconv.benchmarks.report").joinpath("style.css").read_text(encoding="utf-8")
    palettes = style[: style.index("* {")].replace(":root", "svg")
    ground = "svg { background: var(--surface); font-family: system-ui, sans-serif; }"
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0]
    size = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    head, _, body = svg.removeprefix("<svg ").partition(">")
    return f"{size}{head}><style>{palettes}{ground}</style>{body}\n"


def _themed(tag: str, identifier: str) -> str:
    tag = tag.replace("xlink:href=", "href=")
    tag = re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\g<1>{identifier}-", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    return re.sub(rf"{_STAND_IN}([0-9a-f]{{2}})", lambda found: f"var(--{PALETTE[int(found[1], 16)]})", tag)
