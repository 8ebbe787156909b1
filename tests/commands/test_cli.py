"""The command line as a user meets it: help, exit codes, and bad input of every kind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgeconv.cli import run

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 2, 1)
    def forward(self, image):
        return self.last(torch.relu(self.norm(self.first(image))))

def factory():
    torch.manual_seed(0)
    return Net()

class Branches(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x - 1

def branches():
    return Branches()

class Sampler(nn.Module):
    def forward(self, x):
        return torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic")

def cubic():
    return Sampler()

def breaks():
    raise KeyError("no such thing")

def not_a_module():
    return 3

nothing = None

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(5, 4, 3, padding=1)
    def forward(self, image, prior):
        y = self.mix(torch.cat([image, prior], 1))
        return torch.relu(y), y.mean((2, 3))

def two():
    torch.manual_seed(1)
    return Two()

class Registration(nn.Module):
    def forward(self, source, target):
        return source - target

def registration():
    return Registration()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "cal.npz", image=rng.standard_normal((6, 3, 16, 24)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*arguments: str, calibration: str = "cal.npz") -> int:
    return run(["export", "net.py:factory", "--input-shape", "1x3x16x24", "--calibration", calibration, *arguments])


def refused(capsys: pytest.CaptureFixture[str], code: int, folder: Path) -> str:
    """The message of a refused command: one paragraph, no traceback, exit code 2, nothing half-written."""
    captured = capsys.readouterr()
    assert code == 2, captured
    assert "Traceback" not in captured.err + captured.out
    assert not list(folder.glob("out/*")), "something was written"
    assert not list(folder.glob(".*")), "something temporary was left"
    return " ".join(captured.err.split())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from edgeconv.cli import run; code = run(['--help']);"
        "heavy = {'torch', 'tensorflow', 'onnx', 'onnxruntime', 'openvino', 'numpy', 'scipy', 'matplotlib'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in ("quickstart", "export", "bench", "check", "compare", "report", "inspect", "devices", "train"):
        assert verb in done.stdout


@pytest.mark.parametrize("verb", ["quickstart", "export", "bench", "check", "compare", "report", "inspect", "train"])
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"edgeconv {verb}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["exprt"], ["export"], ["export", "x", "--devic", "host"], ["bench"]])
def test_wrong_usage_is_exit_code_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_export_bench_check_report_agree_on_the_fixed_names(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(_state(here), here / "w.safetensors")
    assert export("--weights", "w.safetensors", "--device", "raspberry-pi-5", "-o", "out", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    (bundle,) = result["bundles"]
    manifest = json.loads((here / bundle["path"] / "manifest.json").read_text())
    kinds = {(a["runtime"], a["precision"]) for a in manifest["artifacts"]}
    assert kinds == {
        *((runtime, "fp32") for runtime in ("onnxruntime", "litert", "openvino")),
        *((runtime, "int8") for runtime in ("onnxruntime", "litert", "openvino")),
        ("openvino", "fp16"),
    }
    for artifact in manifest["artifacts"]:
        assert (here / bundle["path"] / artifact["path"]).stat().st_size == artifact["bytes"]
    assert run(["bench", bundle["path"], "--on", "local:", "--json", "run.json", "--min-seconds", "0.1"]) == 0
    record = json.loads((here / "run.json").read_text())
    for row in record["results"]:
        assert {"samples", "p50", "p90", "p99"} <= set(row["latency_ns"])
        assert {"peak_rss_bytes", "baseline_rss_bytes"} <= set(row["memory"])
        for part in ("export", "quantisation", "runtime", "total"):
            assert {"max_abs", "mean_abs", "sqnr_db", "cosine"} <= set(row["drift"][part])
        assert row["load_ns"] > 0
        assert row["first_inference_ns"] > 0
    assert run(["check", "run.json"]) == 0
    assert run(["report", "run.json", "-o", "report.html", "--bundle", bundle["path"]]) == 0
    assert "<svg" in (here / "report.html").read_text()
    assert run(["compare", "run.json", "run.json"]) == 0


def _module(here: Path) -> torch.nn.Module:
    namespace: dict[str, object] = {}
    exec((here / "net.py").read_text(), namespace)
    module = namespace["factory"]()  # type: ignore[operator]
    assert isinstance(module, torch.nn.Module)
    return module


def _state(here: Path) -> dict[str, torch.Tensor]:
    return dict(_module(here).state_dict())


def test_several_devices_share_one_export(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("--device", "host", "--device", "android-arm64", "-o", "out", "--json", "--pack") == 0
    bundles = json.loads(capsys.readouterr().out)["bundles"]
    assert [b["device"] for b in bundles] == ["host", "android-arm64"]
    assert all(Path(b["packed"]).is_file() for b in bundles)


def test_an_existing_bundle_is_kept_unless_forced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    existing = here / "out" / "factory-host"
    existing.mkdir(parents=True)
    (existing / "precious").write_text("x")
    assert export("-o", "out", "--name", "factory") == 2
    assert "--force" in capsys.readouterr().err
    assert [p.name for p in existing.iterdir()] == ["precious"]
    assert export("-o", "out", "--name", "factory", "--force") == 0
    assert (existing / "manifest.json").exists()


@pytest.mark.parametrize(
    ("device", "near"), [("raspbery-pi-5", "raspberry-pi-5"), ("orin", "jetson-orin-nano"), ("zzz", "host")]
)
def test_an_unknown_device_names_near_ones(
    here: Path, capsys: pytest.CaptureFixture[str], device: str, near: str
) -> None:
    assert near in refused(capsys, export("--device", device, "-o", "out"), here)


def test_an_unknown_runtime_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "litert" in refused(capsys, export("--runtime", "litertt", "-o", "out"), here)


def test_an_unknown_metric_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "dice" in refused(capsys, export("--metric", "dicee", "-o", "out"), here)


def test_a_metric_beside_an_input_called_target_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = ["--input-shape", "source=1x1x8x8", "--input-shape", "target=1x1x8x8"]
    code = run(["export", "net.py:registration", *shapes, "--metric", "psnr", "-o", "out"])
    assert "Rename the parameter" in refused(capsys, code, here)


def test_a_missing_checkpoint_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone.safetensors" in refused(capsys, export("--weights", "gone.safetensors", "-o", "out"), here)


def test_a_wrong_checkpoint_lists_what_is_wrong(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = _state(here)
    state["first.weight"] = torch.zeros(8, 3, 5, 5)
    state["extra.bias"] = state.pop("last.bias")
    save_file(state, here / "w.safetensors")
    message = refused(capsys, export("--weights", "w.safetensors", "-o", "out"), here)
    for part in ("last.bias", "extra.bias", "first.weight"):
        assert part in message


def test_nan_in_weights_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = _state(here)
    state["first.weight"][0, 0, 0, 0] = torch.nan
    save_file(state, here / "w.safetensors")
    assert "first.weight" in refused(capsys, export("--weights", "w.safetensors", "-o", "out"), here)


def test_a_pickle_that_could_run_code_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("__import__('pathlib').Path('owned').touch()",)

    torch.save({"x": Evil()}, here / "w.pt")
    refused(capsys, export("--weights", "w.pt", "-o", "out"), here)
    assert not (here / "owned").exists()


@pytest.mark.parametrize("shape", ["1x4x16x24", "1x3x16", "banana", "1x3x-2x5", "nope=1x3x16x24", "1x3x0x24"])
def test_an_input_shape_that_does_not_fit_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], shape: str
) -> None:
    code = run(["export", "net.py:factory", "--input-shape", shape, "-o", "out"])
    refused(capsys, code, here)


def test_a_missing_input_shape_says_how_to_give_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--input-shape" in refused(capsys, run(["export", "net.py:factory", "-o", "out"]), here)


def test_data_dependent_control_flow_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["export", "net.py:branches", "--input-shape", "1x3x8x8", "-o", "out"])
    assert "control flow" in refused(capsys, code, here)


UNBUILDABLE = [
    *(f"net.py:{name}" for name in ("factry", "breaks", "not_a_module", "nothing")),
    *("gone.py:f", "no.such.module:f", "vesels", "gone.onnx", "gone.pt2"),
]


@pytest.mark.parametrize("model", UNBUILDABLE)
def test_a_model_that_cannot_be_built_is_refused(here: Path, capsys: pytest.CaptureFixture[str], model: str) -> None:
    refused(capsys, run(["export", model, "--input-shape", "1x3x8x8", "-o", "out"]), here)


def test_nan_in_calibration_data_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = np.zeros((6, 3, 16, 24), np.float32)
    data[5] = np.nan
    np.savez(here / "cal.npz", image=data)
    assert "sample 5" in refused(capsys, export("-o", "out"), here)


def test_an_empty_calibration_folder_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "empty").mkdir()
    assert "no sample" in refused(capsys, export("-o", "out", calibration="empty"), here)


def test_a_file_that_is_no_image_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "images").mkdir()
    (here / "images" / "a.png").write_text("not a png")
    assert "a.png" in refused(capsys, export("-o", "out", calibration="images"), here)


def test_a_failing_runtime_is_a_row_and_the_rest_is_built(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["export", "net.py:cubic", "--input-shape", "1x3x8x8", "-o", "out", "--json"])
    assert code == 0
    (bundle,) = json.loads(capsys.readouterr().out)["bundles"]
    reasons = {(f["runtime"], f["precision"]): f["reason"] for f in bundle["failures"]}
    assert "Resize" in reasons["litert", "fp32"]
    assert "onnxruntime fp32" in bundle["artifacts"]
    shutil.rmtree(here / "out")
    code = run(["export", "net.py:cubic", "--input-shape", "1x3x8x8", "-o", "out", "--runtime", "litert"])
    assert "Resize" in refused(capsys, code, here)


def test_without_calibration_int8_is_a_row_with_its_reason(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "net.py:factory", "--input-shape", "1x3x16x24", "-o", "out", "--json"]) == 0
    (bundle,) = json.loads(capsys.readouterr().out)["bundles"]
    assert {f["precision"] for f in bundle["failures"]} == {"int8"}
    assert all("--calibration" in f["reason"] for f in bundle["failures"])


def test_several_inputs_and_outputs_go_the_whole_way(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    arrays = {"image": rng.random((6, 3, 8, 12), np.float32), "prior": rng.random((6, 2, 8, 12), np.float32)}
    np.savez(here / "two.npz", **arrays)
    shapes = ["--input-shape", "prior=1x2x8x12", "--input-shape", "image=1x3x8x12"]
    assert run(["export", "net.py:two", *shapes, "--calibration", "two.npz", "-o", "out", "--json"]) == 0
    (bundle,) = json.loads(capsys.readouterr().out)["bundles"]
    assert bundle["failures"] == []
    assert run(["check", bundle["path"]]) == 0


@pytest.mark.parametrize("suffix", ["pt2", "onnx"])
def test_exported_programs_and_onnx_files_go_the_whole_way(
    here: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    module, example = _module(here).eval(), (torch.zeros(1, 3, 16, 24),)
    if suffix == "pt2":
        torch.export.save(torch.export.export(module, example), here / "m.pt2")
    else:
        torch.onnx.export(module, example, here / "m.onnx", dynamo=True, verbose=False)
    capsys.readouterr()
    assert run(["export", f"m.{suffix}", "--calibration", "cal.npz", "-o", "out", "--json"]) == 0
    (bundle,) = json.loads(capsys.readouterr().out)["bundles"]
    assert bundle["failures"] == []
    assert run(["check", bundle["path"]]) == 0


def test_inspect_lists_the_layers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "net.py:factory", "--input-shape", "1x3x16x24", "--json"]) == 0
    inspection = json.loads(capsys.readouterr().out)
    assert inspection["parameters"] == 3 * 8 * 9 + 8 + 16 + 8 * 2 + 2
    assert sum(row["parameters"] for row in inspection["rows"]) == inspection["parameters"]
    assert inspection["macs"] == (3 * 8 * 9 + 8 * 2) * 16 * 24
    assert run(["inspect", "net.py:factory", "--input-shape", "1x3x16x24"]) == 0
    assert "first/Conv" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["bench", "check"])
def test_something_that_is_no_bundle_is_refused(here: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    (here / "folder").mkdir()
    refused(capsys, run([verb, "folder"]), here)
    refused(capsys, run([verb, "gone"]), here)


def test_records_that_are_no_records_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.json").write_text('{"schema_version": 1, "res')
    (here / "b.json").write_text('{"schema_version": 99}')
    for verb in (["check"], ["report"]):
        for name in ("a.json", "b.json", "gone.json"):
            refused(capsys, run([*verb, name]), here)


def test_a_reader_that_has_gone_is_no_error_of_ours(tmp_path: Path) -> None:
    code = "import sys; from edgeconv.cli import run; sys.exit(run(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    errors = process.stderr.read()
    process.wait()
    assert "Traceback" not in errors


def test_an_interrupted_verb_says_that_nothing_half_written_is_left(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeconv.export.inspection.inspect_model", interrupt)
    assert run(["inspect", "net.py:factory"]) == 130
    assert "interrupted; nothing half-written was left" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--share", "0.5"], ["--schemes", "--input-shape", "1x3x16x24"]])
def test_inspect_refuses_what_has_no_meaning(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(["inspect", "net.py:factory", *arguments]) == 2
    assert "--schemes" in capsys.readouterr().err


def test_a_terminal_without_our_marks_is_written_to_all_the_same(tmp_path: Path) -> None:
    code = "import sys; from edgeconv.commands.terminal import Terminal; from edgeconv import cli; "
    code += "cli.run(['--version']); Terminal().done('x')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.stdout.endswith(b"? x\n")
