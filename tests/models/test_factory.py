from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from edgeconv.errors import ModelError
from edgeconv.models.factory import call_factory

SOURCE = """
import sys
from torch import nn

import neighbour_of_net

SIZE = 3
READY = nn.Conv2d(1, 1, 1)


def factory():
    return nn.Linear(SIZE, neighbour_of_net.WIDTH)


def number():
    return 5


def broken():
    raise ValueError("the width is wrong\\nand more")


def leaving():
    sys.exit("bye")


def needy(width):
    return nn.Linear(width, 1)
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "neighbour_of_net.py").write_text("WIDTH = 7\n")
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


def test_file_may_import_its_neighbours(net: Path) -> None:
    module = call_factory(f"{net}:factory")
    assert isinstance(module, nn.Linear)
    assert (module.in_features, module.out_features) == (3, 7)


def test_module_path_and_interpreter_are_left_as_they_were(net: Path) -> None:
    before = list(sys.path)
    call_factory(f"{net}:factory")
    assert sys.path == before
    assert "net" not in sys.modules


def test_file_is_read_anew_each_time(net: Path) -> None:
    call_factory(f"{net}:factory")
    net.write_text("from torch import nn\nfactory = nn.ReLU\n")
    assert isinstance(call_factory(f"{net}:factory"), nn.ReLU)


def test_package_is_found_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_for_a_factory_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text("from torch import nn\ndef build():\n    return nn.Tanh()\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(call_factory("package_for_a_factory_test.nets:build"), nn.Tanh)


def test_class_without_arguments_is_a_factory_and_a_module_is_taken_as_it_is(net: Path) -> None:
    assert isinstance(call_factory("torch.nn:ReLU"), nn.ReLU)
    assert isinstance(call_factory(f"{net}:READY"), nn.Conv2d)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("factori", "has no 'factori'. Did you mean factory"),
        ("zzz", "has no 'zzz'. It defines factory, number, broken, leaving, needy"),
        ("number", r"gave an int, expected a torch\.nn\.Module"),
        ("SIZE", r"gave an int, expected a torch\.nn\.Module"),
        ("broken", r"raised ValueError: the width is wrong \(net.py, line 20\)\. A factory takes no arguments"),
        ("leaving", "raised SystemExit: bye"),
        ("needy", r"raised TypeError: needy\(\) missing 1 required positional argument: 'width'"),
    ],
)
def test_unusable_factory_is_refused(net: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        call_factory(f"{net}:{name}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("missing.py:factory", r"There is no file missing\.py"),
        ("no_such_package.nets:factory", "There is no module 'no_such_package'"),
        ("json.no_such_part:factory", "There is no module 'json.no_such_part'"),
        (":factory", "does not name a factory"),
        ("net.py:", "does not name a factory"),
    ],
)
def test_code_that_is_not_there_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        call_factory(spec)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n", "raised SyntaxError"),
        ("import no_such_dependency\n", "raised ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("x = 1\ny = x / 0\n", r"raised ZeroDivisionError: division by zero \(bad.py, line 2\)"),
        ("import sys\nsys.exit()\n", "raised SystemExit"),
    ],
)
def test_code_that_cannot_be_imported_is_refused(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(source)
    with pytest.raises(ModelError, match=message):
        call_factory(f"{tmp_path / 'bad.py'}:factory")
    assert "edgeconv_user_bad" not in sys.modules


def test_two_files_have_neighbours_of_the_same_name(tmp_path: Path) -> None:
    for folder, width in (("a", 4), ("b", 9)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "widths_of_it.py").write_text(f"WIDTH = {width}\n")
        (tmp_path / folder / "net.py").write_text(
            "import widths_of_it\nfrom torch import nn\ndef factory(): return nn.Linear(1, widths_of_it.WIDTH)\n"
        )
    layers = [call_factory(f"{tmp_path / folder}/net.py:factory") for folder in "aba"]
    assert [layer.out_features for layer in layers] == [4, 9, 4]


def test_an_installed_package_below_the_directory_is_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "a" / ".venv" / "site-packages"
    site.mkdir(parents=True)
    (site / "installed_of_it.py").write_text("WIDTH = 4\n")
    monkeypatch.syspath_prepend(str(site))
    (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        (tmp_path / folder / "net.py").write_text(
            "import installed_of_it\nfrom torch import nn\ndef f(): return nn.Linear(1, installed_of_it.WIDTH)\n"
        )
    call_factory(f"{tmp_path}/a/net.py:f")
    installed = sys.modules["installed_of_it"]
    call_factory(f"{tmp_path}/b/net.py:f")
    assert sys.modules["installed_of_it"] is installed


def test_what_a_file_prints_is_kept_from_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loud.py").write_text(
        "from torch import nn\nprint('one')\ndef f():\n    print('two')\n    return nn.ReLU()\n"
    )
    call_factory(f"{tmp_path / 'loud.py'}:f")
    told = capsys.readouterr()
    assert (told.out, told.err.split()) == ("", ["one", "two"])
