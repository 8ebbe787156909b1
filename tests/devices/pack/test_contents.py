from __future__ import annotations

from pathlib import Path

from edgeconv.devices.pack.contents import copy_standard_library, prune_site


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_of_the_standard_library_the_agents_modules_stay(tmp_path):
    kept = {"os.py", "json/decoder.py", "importlib/metadata/__init__.py", "lib-dynload/_ctypes.so", "unittest/mock.py"}
    dropped = {"test/test_os.py", "idlelib/idle.py", "lib-dynload/_ssl.cpython.so", "json/__pycache__/a.pyc"}
    put(tmp_path / "python3.11", *kept, *dropped)
    put(tmp_path, "of this machine.py")
    (tmp_path / "python3.11/sitecustomize.py").symlink_to(tmp_path / "of this machine.py")
    (tmp_path / "python3.11/dangling.py").symlink_to("nowhere.py")
    (tmp_path / "python3.11/linked.py").symlink_to("os.py")
    copy_standard_library(tmp_path / "python3.11", tmp_path / "copy")
    assert files(tmp_path / "copy") == kept | {"linked.py"}
    assert not (tmp_path / "copy/linked.py").is_symlink()


def test_of_wheels_what_inference_loads_stays(tmp_path):
    kept = {
        *("numpy/__init__.py", "numpy/testing/__init__.py", "numpy.libs/libopenblas.so", "numpy/random/_pickle.py"),
        *("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-aarch64-linux-gnu.so", "onnxruntime/__init__.py"),
        *("ai_edge_litert/libLiteRt.so", "ai_edge_litert/interpreter.py", "ai_edge_litert-2.3.0.dist-info/METADATA"),
        *("openvino/libs/libopenvino.so.2641", "openvino/__init__.py"),
    }
    dropped = {
        *("numpy/_core/tests/test_x.py", "numpy/__init__.pyi", "numpy/_core/include/numpy/ndarraytypes.h"),
        *("numpy/f2py/f2py2e.py", "onnxruntime/capi/libonnxruntime.so.1.31.1", "onnxruntime/transformers/a.py"),
        *("ai_edge_litert/libLiteRtWebGpuAccelerator.so", "ai_edge_litert/aot/a.py", "numpy/random/lib/libnpyrandom.a"),
        "openvino/tools/ovc/main.py",
    }
    put(tmp_path, *kept, *dropped)
    prune_site(tmp_path)
    assert files(tmp_path) == kept
