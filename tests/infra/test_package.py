"""What goes to Lambda: complete, nothing more, the same bytes everywhere; and its wrapper."""

import hashlib
import importlib.util
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import commands.package
import infra.package.build
import infra.package.libraries
import infra.toolchain.uv
from infra.package import bot_folder
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.libraries import SELDOM_IMPORTED, install_libraries
from infra.package.lock.lock import Lock
from infra.package.target import PackageError, Target
from infra.package.trim import trim
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT, kept, made_aside
from infra.toolchain.pythons import runtime_python as make_runtime_python
from tests.support.bot_folder import write_folder
from tests.support.wheelhouse import Wheelhouse

HANDLER = ROOT / "handler"
BOT = "bot = None\n"


def requirement(name: str, requirements: Path) -> str:
    """One library's lines, markers taken off."""
    (lines,) = re.findall(rf"^({name}==.*\n(?:    --hash.*\n)+)", requirements.read_text(), re.M)
    return re.sub(" ;[^\\\\]*", " ", lines)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of handler/ that a test may change, with a single library, for speed; next to it,
    a bot's folder."""
    copied = shutil.copytree(HANDLER, tmp_path / "sources")
    (copied / "requirements.txt").write_text(requirement("h11", HANDLER / "requirements.txt"))
    write_folder(tmp_path / "bot", {"bot.py": BOT})
    return copied


def build_small(sources: Path, output: Path, target: Target | None = None) -> Path:
    """Build with a cache of the test's own."""
    bot, cache = BotFolder.at(str(sources.parent / "bot")), sources.parent / "cache"
    return build(bot, target or Target.here(), output, cache=cache, host=sources)


@pytest.fixture
def plain_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def tree(folder: Path) -> dict[str, tuple[int, float, str]]:
    """Mode, time and hash by path."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [folder, *folder.rglob("*")]
    }


def run(python: Path, code: str, folder: Path) -> str:
    """What code prints in a folder, with nothing of this process's environment."""
    command = [python, "-c", code]
    return subprocess.run(
        command, cwd=folder, env={}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def test_the_package_holds_the_bot_its_libraries_and_nothing_else(package: Path) -> None:
    names = {path.name for path in package.iterdir()}
    assert {"bootstrap", "handler", "fastapi_poe", "mangum", "h11"} <= names
    unwanted = "boto3 botocore infra local tests uvicorn click pip uv bin .lock requirements.txt"
    assert not names & set(unwanted.split())
    ours = {path.relative_to(package) for path in (package / "handler").rglob("*.py")}
    assert ours == {path.relative_to(HANDLER.parent) for path in HANDLER.rglob("*.py")}


def test_the_package_imports_all_that_it_needs_from_itself(
    package: Path, runtime_python: Path
) -> None:
    code = """
import os, sys
import fastapi_poe, mangum, h11
from importlib.metadata import entry_points, version
from opentelemetry import context
context.get_current()
fastapi_poe.make_app(fastapi_poe.PoeBot(), access_key="k" * 32)
assert version("fastapi_poe") == "0.0.83"
assert entry_points(group="opentelemetry_context")
for name, module in sys.modules.items():
    file = getattr(module, "__file__", None) or os.__file__
    assert file.startswith((os.getcwd(), os.path.dirname(os.__file__))), file
    assert "site-packages" not in file, file
print("complete")
"""
    assert run(runtime_python, code, package) == "complete\n"


def test_the_interpreter_for_the_package_has_no_packages_at_all(
    runtime_python: Path, tmp_path: Path
) -> None:
    code = "import sys, os; print([os.listdir(p) for p in sys.path if 'site-packages' in p])"
    assert run(runtime_python, code, tmp_path) == "[[]]\n"


def test_a_missing_python_for_the_package_is_an_error_in_one_line() -> None:
    with pytest.raises(LookupError, match="no Python 3.99 on this machine"):
        make_runtime_python("3.99")


def test_the_same_input_gives_the_same_bytes_modes_and_times_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_umask: None
) -> None:
    """The other checkout lies in folders named as modules; umask, zone and hash seed differ."""
    for number, folder in enumerate([tmp_path / "one", tmp_path / "json" / "handler" / "anyio"]):
        copied = shutil.copytree(HANDLER, folder / "sources", copy_function=shutil.copyfile)
        words = "f = lambda word: word in {'a', 'b', 'c', None, 2.5}\n"
        bot = write_folder(folder / "bot", {"bot.py": BOT, "words.py": words})
        os.umask([0o022, 0o077][number])
        monkeypatch.setenv("TZ", ["UTC", "Asia/Tokyo"][number])
        build(
            BotFolder.at(str(bot)),
            Target.here(),
            folder / "package",
            cache=folder / "cache",
            host=copied,
        )
    one, other = tree(tmp_path / "one/package"), tree(tmp_path / "json/handler/anyio/package")
    assert {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)} == set()


def test_modes_and_times_are_fit_for_lambda_and_zip(package: Path) -> None:
    entries = tree(package)
    assert {time for _, time, _ in entries.values()} == {315_705_600.0}
    assert oct(entries["bootstrap"][0]) == "0o100755"
    files = {path: mode for path, (mode, _, _) in entries.items() if mode != 0o040755}
    assert set(files.values()) == {0o100644, 0o100755}
    ours = {mode for path, mode in files.items() if path.startswith(("handler/", "bot/"))}
    assert ours == {0o100644}


def test_every_module_is_compiled_for_its_place_on_lambda(package: Path) -> None:
    modules = [
        module
        for module in package.rglob("*.py")
        if not any(module.is_relative_to(package / name) for name in SELDOM_IMPORTED)
    ]
    assert len(modules) > 300
    for module in modules:
        pyc = Path(importlib.util.cache_from_source(str(module))).read_bytes()
        assert pyc[:4] == importlib.util.MAGIC_NUMBER
        assert pyc[4:8] == b"\1\0\0\0", "a hash that Python does not check"
        assert marshal.loads(pyc[16:]).co_filename == f"/var/task/{module.relative_to(package)}"


def test_a_librarys_name_version_and_entry_points_can_still_be_asked_for(
    package: Path, runtime_python: Path
) -> None:
    script = (
        "from importlib.metadata import entry_points, version\n"
        "assert version('pydantic').startswith('2.')\n"
        "assert entry_points(group='opentelemetry_context')\n"
        "import pydantic.v1\n"
    )
    subprocess.run([runtime_python, "-c", script], cwd=package, check=True)


def test_a_librarys_files_can_still_be_asked_for_and_are_those_that_ship(
    package: Path, runtime_python: Path
) -> None:
    script = (
        "from importlib.metadata import files, packages_distributions\n"
        "assert {str(file) for file in files('h11')} > {'h11/__init__.py'}\n"
        "assert all(file.locate().exists() for file in files('h11') + files('fastapi_poe'))\n"
        "assert packages_distributions()['fastapi_poe'] == ['fastapi_poe']\n"
    )
    subprocess.run([runtime_python, "-c", script], cwd=package, check=True)


def test_c_that_a_module_was_compiled_from_does_not_ship_and_other_c_does(tmp_path: Path) -> None:
    compiled = {"fast.cpython-313-x86_64-linux-gnu.so", "fast.py", "fast.h", "template.c"}
    write_folder(tmp_path / "lib", dict.fromkeys(compiled | {"fast.c", "fast.cpp"}, ""))
    trim(tmp_path)
    assert {path.name for path in (tmp_path / "lib").iterdir()} == compiled


def test_metadata_that_is_not_utf_8_keeps_its_fields(tmp_path: Path) -> None:
    metadata = tmp_path / "old-1.0.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_bytes(b"Name: old\nAuthor: Andr\xe9\n\n# The README\n")
    trim(tmp_path)
    assert metadata.read_bytes() == b"Name: old\nAuthor: Andr\xe9\n\n"


def test_without_the_targets_python_the_package_has_no_pyc_and_says_what_that_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(infra.package.libraries, "find_python", lambda version: None)
    monkeypatch.setattr(infra.package.build, "find_python", lambda version: None)
    bot = BotFolder.at(str(write_folder(tmp_path / "bot", {"bot.py": BOT})))
    built = build(bot, Target.here(), tmp_path / "package", cache=tmp_path / "cache")
    assert not list(built.rglob("*.pyc"))
    assert "about three times as long" in capfd.readouterr().err


def test_the_package_for_another_machine_has_that_machines_binaries(tmp_path: Path) -> None:
    arch = {"x86_64": "arm64", "arm64": "x86_64"}[Target.here().arch]
    bot = BotFolder.at(str(write_folder(tmp_path / "bot", {"bot.py": BOT})))
    built = build(bot, Target(Target.here().python, arch), tmp_path / "package")
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[arch]
    binaries = [path.name for path in built.rglob("*.so")]
    assert binaries
    assert all(name.endswith(f"{machine}-linux-gnu.so") for name in binaries)


@pytest.mark.parametrize(
    ("python", "newest_wheels"),
    [("3.11", "manylinux2014"), ("3.12", "manylinux_2_28"), ("3.14", "manylinux_2_28")],
)
def test_wheels_fit_the_glibc_of_the_runtimes_amazon_linux(python: str, newest_wheels: str) -> None:
    """Python 3.11 has Amazon Linux 2 with glibc 2.26, newer ones 2023 with 2.34."""
    assert Target(python, "arm64").platform == f"aarch64-{newest_wheels}"


def test_installed_libraries_are_used_again_until_the_requirements_change(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_small(sources, tmp_path / "package")
    (tmp_path / "bot/bot.py").write_text("bot = 1\n")
    with monkeypatch.context() as without_uv:
        without_uv.setattr(infra.toolchain.uv, "find_uv", lambda: "/nowhere/uv")
        build_small(sources, tmp_path / "package")
        assert (tmp_path / "package/bot/bot.py").read_text() == "bot = 1\n"
        with (sources / "requirements.txt").open("a") as requirements:
            requirements.write("# changed\n")
        with pytest.raises(PackageError, match="/nowhere/uv"):
            build_small(sources, tmp_path / "package")


def test_files_that_come_and_go_while_libraries_are_installed_end_no_build(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install_while_the_user_edits(*arguments: Any) -> Path:
        (tmp_path / "bot/old.txt").rename(tmp_path / "bot/new.txt")
        return install_libraries(*arguments)

    write_folder(tmp_path / "bot", {"old.txt": ""})
    monkeypatch.setattr(infra.package.build, "install_libraries", install_while_the_user_edits)
    package = build_small(sources, tmp_path / "package")
    assert {path.name for path in (package / "bot").glob("*.txt")} == {"new.txt"}


def test_the_host_is_compiled_again_only_when_it_changed(sources: Path, tmp_path: Path) -> None:
    compiled = "handler/__pycache__/asgi.cpython-*.pyc"
    (first,) = build_small(sources, tmp_path / "first").glob(compiled)
    (second,) = build_small(sources, tmp_path / "second").glob(compiled)
    assert first.stat().st_ino == second.stat().st_ino
    for change in ("asgi.py", "bootstrap"):
        with (sources / change).open("a") as file:
            file.write("# changed\n")
    changed = build_small(sources, tmp_path / "changed")
    (third,) = changed.glob(compiled)
    assert first.stat().st_ino != third.stat().st_ino
    assert (changed / "handler/asgi.py").read_text().endswith("# changed\n")
    assert (changed / "bootstrap").read_text().endswith("# changed\n")


def test_tests_of_a_library_ship_if_the_bot_names_them(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others of the same libraries don't get them."""
    house = Wheelhouse(tmp_path / "house")
    house.use(monkeypatch)
    house.wheel("words", files={"tests/__init__.py": "", "tests/test_words.py": ""})
    (sources / "requirements.txt").write_text(house.pinned("words"))
    assert not (build_small(sources, tmp_path / "package") / "tests").exists()
    write_folder(tmp_path / "bot", {"bot.py": "bot = None\nfrom tests import test_words\n"})
    assert (build_small(sources, tmp_path / "package") / "tests").exists()
    write_folder(tmp_path / "bot", {"bot.py": BOT})
    assert not (build_small(sources, tmp_path / "package") / "tests").exists()


@pytest.mark.parametrize("edited", ["h11/__init__.py", "handler/asgi.py"])
def test_what_is_edited_in_a_package_does_not_get_into_the_next_one(
    sources: Path, tmp_path: Path, edited: str
) -> None:
    first = tree(build_small(sources, tmp_path / "package"))
    (tmp_path / "package" / edited).write_text("")
    build_small(sources, tmp_path / "package")
    assert tree(tmp_path / "package") == first


def test_installing_libraries_leaves_uvs_own_copies_alone(sources: Path, tmp_path: Path) -> None:
    lock = Lock(sources / "requirements.txt")
    libraries = install_libraries(lock, Target.here(), tmp_path / "cache")
    assert {file.stat().st_nlink for file in libraries.rglob("*.py")} == {1}


def test_a_failed_build_leaves_the_package_that_was_there(sources: Path, tmp_path: Path) -> None:
    output = build_small(sources, tmp_path / "packages/package")
    before = tree(output)
    (tmp_path / "bot/words.py").write_text("def words(:\n")
    with pytest.raises(PackageError, match="words.py:1: invalid syntax: def words\\(:$"):
        build_small(sources, output)
    assert tree(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["package"]


OWN_MOUNTS = ("unshare", "--mount", "--map-root-user")


def can_mount() -> bool:
    return bool(shutil.which("unshare")) and not subprocess.run([*OWN_MOUNTS, "true"]).returncode


@pytest.mark.skipif("not can_mount()", reason="only root can mount a small disk here")
@pytest.mark.parametrize("room", ["100k", "550k", "1m"], ids=["install", "compile", "copy"])
def test_a_full_disk_is_one_line_with_what_to_do(
    sources: Path, tmp_path: Path, room: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bot/words.csv").write_text("word\n" * 200_000)
    disk = tmp_path / "disk"
    disk.mkdir()
    code = """
import sys
from pathlib import Path
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import PackageError, Target
bot, sources, disk = sys.argv[1:]
try:
    build(BotFolder.at(bot), Target.here(), Path(disk, "package"), cache=Path(disk, "cache"),
          host=Path(sources))
except PackageError as error:
    print(error)
"""
    mounted = 'mount -t tmpfs -o size="$1" none "$2" && shift && exec "${@:2}"'
    command = ["bash", "-c", mounted, "bash", room, disk, sys.executable, "-c", code,
               tmp_path / "bot", sources, disk]  # fmt: skip
    subprocess.run([*OWN_MOUNTS, *command], cwd=ROOT, check=True)
    lines = capfd.readouterr().out.splitlines()
    assert [line[:37] for line in lines] == ["the disk is full: make room, for inst"]


def test_swapping_folders_from_many_threads_at_once_leaves_one_whole_folder(tmp_path: Path) -> None:
    def swap(number: int) -> None:
        for _ in range(20):
            with made_aside(tmp_path / "folder") as folder:
                (folder / "file").write_text(str(number))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(swap, range(4)))
    assert (tmp_path / "folder/file").read_text() in "0123"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_is_read_is_swapped_afterwards(tmp_path: Path) -> None:
    def swap(name: str) -> None:
        with made_aside(tmp_path / "folder") as folder:
            (folder / name).touch()

    swap("old")
    with ThreadPoolExecutor(1) as threads:
        with kept(tmp_path / "folder"):
            swapped = threads.submit(swap, "new")
            with pytest.raises(TimeoutError):
                swapped.result(timeout=0.2)
            assert (tmp_path / "folder/old").exists()
        swapped.result(timeout=20)
    assert (tmp_path / "folder/new").exists()


def test_a_folder_that_another_process_created_meanwhile_stays_where_asked(tmp_path: Path) -> None:
    with made_aside(tmp_path / "folder", replace=False), made_aside(tmp_path / "folder") as first:
        (first / "file").touch()
    assert (tmp_path / "folder/file").exists()


def test_two_builds_at_once_do_not_break_one_another(sources: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.libraries import install_libraries
from infra.package.target import Target
bot, sources, package, cache = sys.argv[1:]
build(BotFolder.at(bot), Target.here(), Path(package), cache=Path(cache), host=Path(sources))
"""
    output, cache = tmp_path / "package", tmp_path / "cache"
    command = [sys.executable, "-c", code, tmp_path / "bot", sources, output, cache]
    builds = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in builds] == [0, 0]
    again = build_small(sources, tmp_path / "again")
    assert tree(output) == tree(again)
    assert len(list(cache.iterdir())) == 2  # the libraries, and the host


def test_a_library_without_a_wheel_for_the_target_is_named(sources: Path, tmp_path: Path) -> None:
    wanted = requirement("awslambdaric", ROOT / "requirements.txt")
    (sources / "requirements.txt").write_text(wanted)
    with pytest.raises(PackageError) as failure:
        build_small(sources, tmp_path / "package", Target("3.13", "arm64", "macos"))
    first, *details = str(failure.value).splitlines()
    assert first.endswith("can't be installed for Python 3.13 on macos arm64; uv reports:")
    assert "Wheels are required for `awslambdaric`" in "\n".join(details)


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        ("sha256:.{8}", "sha256:00000000", "(?s)can't be installed.*Hash mismatch for `h11"),
        (r"\\\n +--hash=[^\\\n]*", "", "(?s)can't be installed.*`--require-hashes`.*h11"),
    ],
)
def test_a_library_with_another_hash_or_none_is_refused(
    sources: Path, tmp_path: Path, pattern: str, replacement: str, complaint: str
) -> None:
    requirements = sources / "requirements.txt"
    requirements.write_text(re.sub(pattern, replacement, requirements.read_text()))
    with pytest.raises(PackageError, match=complaint):
        build_small(sources, tmp_path / "package")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--python", "3.9"], "Python '3.9' is invalid: use 3.11, 3.12, 3.13, …"),
        (["--python", "python3"], "Python 'python3' is invalid"),
        (["--arch", "sparc"], "machine 'sparc' is invalid: use x86_64 or arm64"),
        (["--bot-file", "none.py"], f"{ROOT}/bot/none.py doesn't exist: define the bot"),
    ],
)
def test_a_wrong_option_gives_one_clear_line(arguments: list[str], complaint: str) -> None:
    with pytest.raises(UserError) as refused:
        commands.package.main(arguments)
    assert str(refused.value).startswith(complaint)
    assert "\n" not in str(refused.value)


def test_the_command_prints_the_packages_folder_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """For the processor that the bot's own cdk.json names, in a folder of the bot's own."""
    monkeypatch.setattr(bot_folder, "BUILD", tmp_path)
    monkeypatch.chdir(tmp_path)
    context = {"context": {"arch": "arm64", "python": Target.here().python}}
    folder = write_folder(tmp_path / "it's", {"bot.py": BOT, "cdk.json": json.dumps(context)})
    commands.package.main(["--bot-dir", str(folder)])
    last = capfd.readouterr().out.splitlines()[-1]
    assert re.fullmatch(rf"bots/it-s-[0-9a-f]{{8}}/package-{Target.here().python}-arm64", last)
    assert (tmp_path / last / "bootstrap").exists()
    commands.package.main(["--bot-dir", "it's", "--caller", str(tmp_path)])
    assert capfd.readouterr().out.splitlines()[-1] == str(tmp_path / last)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task root whose handler reports how it was started."""
    (tmp_path / "handler").mkdir()
    (tmp_path / "handler/__main__.py").write_text(
        "import os, sys; print(os.getcwd(), sys.argv[1:], sys.stdout.write_through)"
    )
    shutil.copy(HANDLER / "bootstrap", tmp_path)
    return tmp_path


def start(task: Path, *arguments: object, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [task / "bootstrap", *map(str, arguments)],
        cwd="/",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_bootstrap_starts_the_handler_unbuffered_with_no_more_than_the_task_root(
    task: Path, runtime_python: Path
) -> None:
    started = start(task, runtime_python, "/var/runtime/bootstrap.py", LAMBDA_TASK_ROOT=str(task))
    assert started == (0, f"{task} [] True\n")


def test_bootstrap_started_wrongly_says_how_to(
    task: Path, runtime_python: Path, tmp_path: Path
) -> None:
    usage = (1, "error: run as LAMBDA_TASK_ROOT=<folder of the package> ./bootstrap <python>\n")
    assert start(task, runtime_python) == usage
    assert start(task, LAMBDA_TASK_ROOT=str(task)) == usage
    status, output = start(task, runtime_python, LAMBDA_TASK_ROOT=str(tmp_path / "missing"))
    assert (status, output.count("\n")) == (1, 1)
    assert str(tmp_path / "missing") in output
