from __future__ import annotations

import io
import json

from edgeconv.benchmarks.agent.progress import Progress


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def zone(root, number, text):
    path = root / f"sys/class/thermal/thermal_zone{number}"
    path.mkdir(parents=True)
    (path / "temp").write_text(text)


def told(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_phase_count_recent_median_and_the_hottest_zone(tmp_path):
    zone(tmp_path, 0, "41000\n")
    zone(tmp_path, 1, "56500\n")
    zone(tmp_path, 2, "")
    stream = io.StringIO()
    progress = Progress(stream, tmp_path)
    progress("load")
    progress("timed", [900] * 1000 + [700] * 256)
    assert told(stream) == [
        {"phase": "load", "temperature_celsius": 56.5},
        {"phase": "timed", "samples": 1256, "p50_ns": 700, "temperature_celsius": 56.5},
    ]


def test_without_a_sensor_there_is_no_temperature(tmp_path):
    stream = io.StringIO()
    Progress(stream, tmp_path)("load")
    assert told(stream) == [{"phase": "load"}]


def test_without_a_stream_nothing_is_told(tmp_path, capsys):
    Progress(root=tmp_path)("timed", [1, 2, 3])
    assert capsys.readouterr().out == ""


def test_a_reader_that_went_away_does_not_end_the_measurement(tmp_path):
    progress = Progress(Closed(), tmp_path)
    progress("timed", [1])
    progress("timed", [1, 2])
