"""The pytest plugin: `assert_parity` and golden files that live in the user's repository.

pytest loads this file in every session of an environment that has edgeconv, so it imports nothing heavy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgeconv.parity.assertion import ParityAssertion
    from edgeconv.parity.subjects import BundleCache

__all__ = ["assert_parity", "edgeconv_bundles", "edgeconv_goldens"]

_UPDATE, _GOLDENS = "--edgeconv-update", "edgeconv_goldens"
_WRITTEN = "edgeconv golden file"  # a property of the test: its report reaches us from a worker of pytest-xdist too


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flag that renews goldens, and where they are."""
    group = parser.getgroup("edgeconv", "parity of exported models")
    group.addoption(_UPDATE, action="store_true", help="write golden files anew where they are missing or differ")
    parser.addini(_GOLDENS, "folder of the golden files, relative to the root of the tests", default="tests/goldens")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the golden files that were written: they are to be looked at and committed."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    properties = (one for report in reports for one in getattr(report, "user_properties", ()))
    written = dict.fromkeys(line for name, line in properties if name == _WRITTEN)  # setup, call and teardown have it
    if written:
        terminalreporter.section("edgeconv: golden files")
        for line in written:
            terminalreporter.line(line)
        terminalreporter.line("Look at the change, then commit it.")


@pytest.fixture(scope="session")
def edgeconv_goldens(pytestconfig: pytest.Config) -> Path:
    """The folder of the golden files: the ini option `edgeconv_goldens`, below the root of the tests."""
    return Path(pytestconfig.rootpath, str(pytestconfig.getini(_GOLDENS)))


@pytest.fixture(scope="session")
def edgeconv_bundles(tmp_path_factory: pytest.TempPathFactory) -> BundleCache:
    """Bundles that were exported in this session, each made once."""
    from edgeconv.parity.subjects import BundleCache

    return BundleCache(tmp_path_factory.mktemp("edgeconv-bundles"))


@pytest.fixture
def assert_parity(
    pytestconfig: pytest.Config,
    edgeconv_goldens: Path,
    edgeconv_bundles: BundleCache,
    record_property: Callable[[str, object], None],
) -> ParityAssertion:
    """A function that fails the test unless a model, or a bundle, keeps its parity; see `ParityAssertion`."""
    from edgeconv.parity.assertion import ParityAssertion

    return ParityAssertion(
        goldens=edgeconv_goldens,
        bundles=edgeconv_bundles,
        update=bool(pytestconfig.getoption(_UPDATE)),
        record=record_property,
        written=functools.partial(record_property, _WRITTEN),
    )
