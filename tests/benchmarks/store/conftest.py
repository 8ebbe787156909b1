"""Small run records for tests of the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.records import Drift, DriftPart, Host, Latency, Memory, Result, RunRecord
from edgeconv.schema import to_json

EXACT = DriftPart(0.0, 0.0, None, 1.0)


def small_result(runtime: str = "litert", precision: str = "int8", p50_ms: float = 10.0, **changes: object) -> Result:
    total = DriftPart(0.1, 0.01, 31.25, 0.999)
    middle = int(p50_ms * 1e6)
    built = Result(
        runtime=runtime,
        precision=precision,
        valid=True,
        invalid_reasons=[],
        artifact_sha256="ab" * 32,
        artifact_bytes=4_000_000,
        latency_ns=Latency([middle] * 50, middle, middle, None, [], intervals={"p50": [middle - 9, middle + 9]}),
        import_ns=None,
        load_ns=1,
        first_inference_ns=1,
        memory=Memory(90_000_000, 50_000_000, "VmHWM"),
        drift=Drift(EXACT, total, total, total, total),
        task=None,
        provider="XNNPACK",
        threads=1,
        evidence={"version": "2.1.0"},
    )
    return dataclasses.replace(built, **changes)


def small_record(
    run_id: str = "run-1", day: int = 1, results: list[Result] | None = None, **changes: object
) -> RunRecord:
    built = RunRecord(
        schema_version=2,
        run_id=run_id,
        started_at=f"2026-11-{day:02}T08:00:00+00:00",
        edgeconv_version="0.1.0",
        target="local:",
        bundle="vessels-host",
        manifest_sha256="9f" * 32,
        model="vessels",
        device="host",
        host=Host("x86_64", "Linux", "Xeon", [], 2, None, None, "3.11", False, "wall"),
        results=[small_result()] if results is None else results,
        model_sha256="c0ffee00" * 8,
        tools={"onnx": "1.22"},
    )
    return dataclasses.replace(built, **changes)


@pytest.fixture
def make_result() -> Callable[..., Result]:
    return small_result


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    return small_record


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[RunRecord], Path]:
    def write(record: RunRecord) -> Path:
        path = tmp_path / f"{record.run_id}.json"
        path.write_text(to_json(record))
        return path

    return write
