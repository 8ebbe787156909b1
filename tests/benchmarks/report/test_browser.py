"""The pages in a real browser: nothing on the console, nothing from the network, no sideways scrolling of the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeconv.benchmarks.report import write_report
from edgeconv.benchmarks.report.trend import write_trend
from edgeconv.benchmarks.store import query, save_runs
from edgeconv.benchmarks.store.trend import FIGURES
from edgeconv.records import Host, Result, RunRecord
from tests.browser import Browser, headless
from tests.tools import need

pytestmark = pytest.mark.browser

# A phone, a tablet, the widths on either side of which the table becomes cards, a desktop.
_WIDTHS = (390, 768, 1180, 1181, 1280)
_LIGHT, _DARK = "rgb(253, 253, 252)", "rgb(20, 22, 24)"
# Elements that reach beyond the window and are not inside one that scrolls by itself.
_SPILLING = """
[...document.querySelectorAll("main *")].filter(element =>
  element.getBoundingClientRect().right > innerWidth + 1 && !element.closest(".scroll") && !element.closest("svg")
).map(element => element.outerHTML.slice(0, 200))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("chromium")
    with headless() as found:
        yield found


@pytest.fixture
def page(
    tmp_path: Path,
    make_board_record: Callable[..., RunRecord],
    make_host: Callable[..., Host],
    two_devices: list[RunRecord],
) -> Path:
    """Real, throttled and emulated runs with everything that a record can hold."""
    emulated = dataclasses.replace(two_devices[1], host=make_host(emulated=True, clock="virtual"), run_id="e")
    path = tmp_path / "report.html"
    write_report([two_devices[0], make_board_record(), emulated], path)
    return path


def _check(browser: Browser, path: Path, widths: tuple[int, ...] = _WIDTHS) -> None:
    for width in widths:
        for dark in (False, True):
            view = browser.view(path, width, dark, screenshot=False)
            where = f"{width} px, {'dark' if dark else 'light'}"
            assert view.console == [], where
            assert view.requests == [path.resolve().as_uri()], where
            assert view.page_width == width, where
            assert view.background == (_DARK if dark else _LIGHT), where
            assert browser.evaluate(_SPILLING) == [], where
            # From top to bottom, folded parts too: the closed ones must not hide a wide table.
            browser.evaluate("document.querySelectorAll('details').forEach(element => { element.open = true })")
            assert browser.evaluate("document.documentElement.scrollWidth") == width, where


def test_report_fits_every_window_in_both_themes(browser: Browser, page: Path) -> None:
    _check(browser, page)


def test_report_is_drawn(browser: Browser, page: Path) -> None:
    view = browser.view(page, 1280)
    assert view.screenshot.startswith(b"\x89PNG")
    drawn = browser.evaluate("[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().height)")
    assert len(drawn) == 4 + 8 + 4
    assert min(drawn) > 100
    assert browser.evaluate("getComputedStyle(document.querySelector('.results thead')).display") != "none"
    browser.view(page, 390, screenshot=False)
    assert browser.evaluate("getComputedStyle(document.querySelector('.results thead')).display") == "none"


def test_hostile_names_do_nothing_and_break_nothing(
    browser: Browser,
    tmp_path: Path,
    make_board_record: Callable[..., RunRecord],
    make_result: Callable[..., Result],
) -> None:
    evil = "<img src=http://127.0.0.1:9/x onerror=alert(1)></script><script>document.title='owned'</script>"
    long = "a" * 300
    results = [
        make_result(evil, long, valid=False, invalid_reasons=[evil, long], evidence={evil: long}),
        *make_board_record().results,
    ]
    record = make_board_record(results=results, model=evil, device=long, target=f"ssh://{long}", run_id=evil)
    write_report([record, record], tmp_path / "report.html")
    _check(browser, tmp_path / "report.html", (390, 1280))
    assert browser.evaluate("document.title").startswith("<img src=")


def test_trend_page_and_drawing_fit(
    browser: Browser,
    tmp_path: Path,
    make_record: Callable[..., RunRecord],
    make_board_record: Callable[..., RunRecord],
) -> None:
    days = [f"2026-11-{day:02}T08:00:00+00:00" for day in range(1, 9)]
    runs = [make_record(run_id=f"h{day[8:10]}", started_at=day) for day in days]
    runs += [make_board_record(run_id=f"b{day[8:10]}", started_at=day) for day in days]
    save_runs(runs, tmp_path / "history.sqlite")
    write_trend(query(path=tmp_path / "history.sqlite"), FIGURES["p50"], tmp_path / "trend.html")
    _check(browser, tmp_path / "trend.html")
    only = query(device="host", path=tmp_path / "history.sqlite")
    write_trend(only, FIGURES["memory"], tmp_path / "trend.svg")
    for dark in (False, True):
        view = browser.view(tmp_path / "trend.svg", 1280, dark)
        assert (view.console, len(view.requests)) == ([], 1)
        assert view.background == (_DARK if dark else _LIGHT)
