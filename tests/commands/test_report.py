from __future__ import annotations

import pytest

from edgeconv.cli import run
from edgeconv.records import SCHEMA_VERSION, Host, RunRecord
from edgeconv.schema import to_json


@pytest.fixture
def record(tmp_path):
    host = Host("x86_64", "Linux", None, [], 1, None, None, "3.11", False, "wall")
    run_record = RunRecord(
        SCHEMA_VERSION, "r", "2026-11-21T00:00:00+00:00", "0", "local:", "b", "0", "m", "host", host, []
    )
    (tmp_path / "run.json").write_text(to_json(run_record))
    return tmp_path / "run.json"


@pytest.mark.parametrize(
    ("name", "flags", "beginning"),
    [
        ("r.html", [], "<!DOCTYPE html>"),
        ("r.md", [], "###"),
        ("r.txt", ["--format", "markdown"], "###"),
        ("r.md", ["--format", "html"], "<!DOCTYPE html>"),
    ],
)
def test_the_suffix_or_the_flag_says_what_is_written(record, tmp_path, name, flags, beginning):
    assert run(["report", str(record), "-o", str(tmp_path / name), *flags]) == 0
    assert (tmp_path / name).read_text().startswith(beginning)


def test_without_a_record_nothing_is_written(tmp_path, capsys):
    assert run(["report", "-o", str(tmp_path / "r.html")]) == 2
    assert "No run record" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
