"""Modules that are found by the package's list are what Python's own search finds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import module_list
from infra.package import compile_folder

STATE = """
import json, sys
def told(value):
    return value if isinstance(value, str | None) else sorted(map(str, value))
def state(module):
    spec = module.__spec__
    return {
        "file": told(getattr(module, "__file__", None)),
        "cached": told(getattr(module, "__cached__", None)),
        "path": told(getattr(module, "__path__", None)),
        "package": module.__package__,
        "parent": spec.parent,
        "origin": spec.origin,
        "names": sorted(set(vars(module)) - {"__warningregistry__"}),
    }
modules = {name: state(m) for name, m in sys.modules.items() if m.__spec__ and name != "__main__"}
ours = "handler.listed_imports"
listed = [name for name, m in sys.modules.items() if type(m.__loader__).__module__ == ours]
print(json.dumps([modules, listed]))
"""


def run(python: Path, folder: Path, code: str, *options: str, listed: bool = True) -> str:
    install = f"listed_imports.install({str(folder if listed else folder / 'nowhere')!r})\n"
    program = "from handler import listed_imports, log\n" + install + code
    done = subprocess.run(
        [str(python), "-B", *options, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        env={},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package's folder: the finder, and the modules that a test puts beside it."""
    source = Path(__file__).parents[1] / "handler"
    (tmp_path / "handler").mkdir()
    for name in ("__init__.py", "listed_imports.py", "log.py"):
        (tmp_path / "handler" / name).write_bytes((source / name).read_bytes())
    return tmp_path


def with_modules(folder: Path, sources: dict[str, str]) -> None:
    """Write, compile and list these."""
    for name, source in sources.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
    compile_folder(folder, Path(sys.executable), "/var/task")
    module_list.write(folder)


def test_the_real_packages_modules_are_the_same_with_and_without_the_list(
    package: Path, runtime_python: Path
) -> None:
    imports = "import handler.app, handler.loop, certifi, pydantic.v1\n"
    with_list = json.loads(run(runtime_python, package, imports + STATE))
    without = json.loads(run(runtime_python, package, imports + STATE, listed=False))
    assert len(with_list[1]) > 200
    assert not without[1]
    assert with_list[0] == without[0]


def test_the_list_has_nothing_of_the_users_and_names_what_is_there(package: Path) -> None:
    listed = (package / "modules.txt").read_text().splitlines()
    assert listed == sorted(listed)
    assert "fastapi_poe/__init__.py" in listed
    assert not [path for path in listed if path.startswith("handler/")]
    assert all((package / path).is_file() for path in listed)


def test_what_asks_a_loader_for_more_than_code_gets_it(package: Path, runtime_python: Path) -> None:
    code = """
import importlib, importlib.resources, inspect, pkgutil, certifi, fastapi
print(type(fastapi.__loader__).__module__)
print(importlib.resources.files("certifi").joinpath("cacert.pem").read_text()[:1] != "")
print("class FastAPI" in inspect.getsource(fastapi.FastAPI))
print("routing" in [module.name for module in pkgutil.iter_modules(fastapi.__path__)])
print(importlib.reload(certifi) is certifi, importlib.util.find_spec("fastapi.nothing"))
"""
    told = run(runtime_python, package, code).split()
    assert told == ["handler.listed_imports", "True", "True", "True", "True", "None"]


def test_bytecode_of_another_python_is_left_alone(folder: Path) -> None:
    with_modules(folder, {"somewhere.py": "VALUE = 1"})
    (pyc,) = folder.glob("__pycache__/somewhere.*.pyc")
    pyc.write_bytes(b"\0\0\0\0" + pyc.read_bytes()[4:])
    assert run(Path(sys.executable), folder, "import somewhere; print(somewhere.VALUE)") == "1\n"
    pyc.unlink()
    assert run(Path(sys.executable), folder, "import somewhere; print(somewhere.VALUE)") == "1\n"


def test_an_optimised_python_finds_modules_by_itself(folder: Path) -> None:
    with_modules(folder, {"somewhere.py": "VALUE = __debug__"})
    code = "import somewhere; print(somewhere.VALUE)"
    assert run(Path(sys.executable), folder, code) == "True\n"
    assert run(Path(sys.executable), folder, code, "-O") == "False\n"


def test_a_package_without_a_list_is_searched(folder: Path) -> None:
    with_modules(folder, {"somewhere.py": ""})
    (folder / "modules.txt").unlink()
    code = "import somewhere; print(type(somewhere.__loader__).__name__)"
    assert run(Path(sys.executable), folder, code) == "SourceFileLoader\n"


def test_a_namespaces_other_half_is_found_elsewhere(folder: Path, tmp_path: Path) -> None:
    with_modules(folder, {"shared/here.py": "VALUE = 1"})
    layer = tmp_path / "layer" / "shared"
    layer.mkdir(parents=True)
    (layer / "there.py").write_text("VALUE = 2")
    code = f"""
import sys; sys.path.append({str(tmp_path / "layer")!r})
from shared import here, there
print(type(here.__loader__).__name__, here.VALUE + there.VALUE)
"""
    assert run(Path(sys.executable), folder, code) == "_Loader 3\n"


def test_only_what_python_would_take_is_listed(folder: Path) -> None:
    names = ("plain.py", "faster.py", "both.py", "both/__init__.py", "uncompiled.py")
    with_modules(folder, dict.fromkeys(names, ""))
    (folder / "faster.cpython-313-x86_64-linux-gnu.so").touch()
    for pyc in folder.glob("__pycache__/uncompiled.*"):
        pyc.unlink()
    module_list.write(folder)
    listed = (folder / "modules.txt").read_text().split()
    assert [path for path in listed if "handler" not in path] == [
        "both.py",
        "both/__init__.py",
        "plain.py",
    ]
    code = "import both; print(both.__path__ != [])"
    assert run(Path(sys.executable), folder, code) == "True\n"
