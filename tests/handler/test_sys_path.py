import json
import subprocess
import sys
from pathlib import Path

import pytest

SITE_PACKAGES = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


@pytest.fixture
def folders(tmp_path):
    """Task root, layers, the runtime's folder; each has a module `shared`, and one of its own."""
    places = {
        "task": tmp_path / "task",
        "layer_site": tmp_path / "opt" / SITE_PACKAGES,
        "layer": tmp_path / "opt",
        "runtime": tmp_path / "runtime",
    }
    for name, place in places.items():
        place.mkdir(parents=True, exist_ok=True)
        (place / "shared.py").write_text(f"origin = {name!r}\n")
        (place / f"only_{name}.py").touch()
    return places


def run(folders, script, rebuild=1):
    """What `script` prints as JSON, in a Python that has rebuilt its path."""
    setup = (
        "import json, sys\n"
        "from handler.runtime import sys_path\n"
        "before = [*sys.path]\n"
        f"for _ in range({rebuild}):\n"
        f"    sys_path.rebuild({str(folders['task'])!r}, {str(folders['runtime'])!r},"
        f" {str(folders['layer'])!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", setup + script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return json.loads(done.stdout)


def test_the_package_comes_first_then_layers_python_and_the_runtime(folders):
    path, before = run(folders, "print(json.dumps([sys.path, before]))")
    assert path[:3] == [str(folders[name]) for name in ("task", "layer_site", "layer")]
    assert path[3:-1] == before
    assert path[-1] == str(folders["runtime"])


@pytest.mark.parametrize(
    ("gone", "origin"),
    [
        ([], "task"),
        (["task"], "layer_site"),
        (["task", "layer_site"], "layer"),
        (["task", "layer_site", "layer"], "runtime"),
    ],
)
def test_a_module_is_found_where_aws_would_find_it(folders, gone, origin):
    for name in gone:
        (folders[name] / "shared.py").unlink()
    assert run(folders, "import shared; print(json.dumps(shared.origin))") == origin


def test_all_layers_and_the_runtime_import(folders):
    modules = ", ".join(f"only_{name}" for name in folders)
    assert run(folders, f"import {modules}; print(1)") == 1


def test_pythons_own_modules_are_not_hidden_by_the_runtimes(folders):
    (folders["runtime"] / "wave.py").write_text("raise ImportError\n")
    assert run(folders, "import wave; print(1)") == 1


@pytest.mark.parametrize("name", ["task", "layer_site", "layer"])
def test_pth_files_are_read(folders, name):
    extra = folders[name] / "extra"
    extra.mkdir()
    (extra / "from_pth.py").touch()
    (extra / "shared_with_runtime.py").write_text("origin = 'extra'\n")
    (folders["runtime"] / "shared_with_runtime.py").write_text("origin = 'runtime'\n")
    (folders[name] / "some.pth").write_text("extra\nimport sys; sys.from_pth = True\n")
    script = (
        "import from_pth, shared_with_runtime\n"
        "print(json.dumps([sys.path, sys.from_pth, shared_with_runtime.origin]))\n"
    )
    path, ran, origin = run(folders, script)
    assert str(extra) in path
    assert ran
    assert origin == "extra"
    assert path[-1] == str(folders["runtime"])


@pytest.mark.parametrize("exist", [True, False])
def test_nothing_stands_twice(folders, tmp_path, exist):
    if not exist:
        folders = {name: place / "missing" for name, place in folders.items()}
    path = run(folders, "print(json.dumps(sys.path))", rebuild=2)
    assert len(path) == len(set(path))
    assert path[0] == str(folders["task"])
    assert path[-1] == str(folders["runtime"])
