from __future__ import annotations

import json

import pytest

from edgeconv.bundles import load_bundle
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


def test_the_name_of_what_was_written_is_printed_as_it_is(record, tmp_path, capsys):
    page = tmp_path / "r[red]x[" / ("long" * 40 + "[/b].html")
    assert run(["report", str(record), "-o", str(page)]) == 0
    assert capsys.readouterr().out == f"✓ {page}\n"
    assert page.exists()


def test_a_page_that_cannot_be_written_is_an_error_in_a_sentence(record, tmp_path, capsys):
    assert run(["report", str(record), "-o", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_bundle_that_none_of_the_runs_is_of_is_refused(record, tiny_bundle, tmp_path, capsys):
    page = tmp_path / "r.html"
    assert run(["report", str(record), "--bundle", str(tiny_bundle), "-o", str(page)]) == 2
    assert "None of the runs is of" in " ".join(capsys.readouterr().err.split())
    assert not page.exists()
    document = json.loads(record.read_text())
    document["manifest_sha256"] = load_bundle(tiny_bundle).manifest_sha256
    record.write_text(json.dumps(document))
    assert run(["report", str(record), "--bundle", str(tiny_bundle), "-o", str(page)]) == 0
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_markdown_shows_no_bundle_and_says_so(record, tiny_bundle, tmp_path, capsys):
    assert run(["report", str(record), "--bundle", str(tiny_bundle), "-o", str(tmp_path / "r.md")]) == 2
    assert "in Markdown shows nothing of a bundle" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "r.md").exists()
