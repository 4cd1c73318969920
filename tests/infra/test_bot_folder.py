"""A bot's folder: which one is meant, what of it ships, and what its modules may be named."""

import os
import socket
from pathlib import Path

import pytest

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.libraries import install_libraries
from infra.package.lock.lock import Lock
from infra.package.module_names import check_names
from infra.package.target import PackageError, Target
from infra.toolchain.folders import ROOT
from tests.support.bot_folder import build_folder, write_folder

BOT = "bot = None\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "my bot ü", {"bot.py": BOT})


def shipped(folder: Path) -> list[str]:
    return [*BotFolder.at(str(folder)).shipped().files]


# Which folder


def test_without_a_word_it_is_the_checkouts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert BotFolder.without_bot().path == ROOT / "bot"


def test_a_relative_folder_starts_where_the_user_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert BotFolder.at("my bot ü").path == folder
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    assert BotFolder.at("..").path == folder


def test_a_bot_file_is_looked_for_where_the_user_stands_and_then_in_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "other.py").write_text(BOT)
    assert BotFolder.at(str(folder), "other.py").file == folder / "other.py"
    (tmp_path / "other.py").write_text(BOT)
    assert BotFolder.at(str(folder), "other.py").file == tmp_path / "other.py"


def test_a_tilde_is_home_where_the_shell_leaves_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zsh does, in `make run BOT_DIR=~/my-bot`."""
    monkeypatch.setenv("HOME", str(folder.parent))
    bot = BotFolder.at(f"~/{folder.name}", f"~/{folder.name}/bot.py")
    assert (bot.path, bot.file) == (folder, folder / "bot.py")


@pytest.mark.parametrize(
    ("folder", "file", "complaint"),
    [
        ("none", None, "^none isn't a folder: give BOT_DIR=<the bot's folder>$"),
        ("file", None, "^file isn't a folder"),
        (
            "empty",
            None,
            r"/empty/bot.py doesn't exist: define the bot there, as `bot = MyBot\(\)`$",
        ),
        ("empty", "x.py", "/empty/x.py doesn't exist"),
        ("empty", "file", "^file isn't a .py file: give BOT_FILE=<the bot's module>$"),
        ("empty", "link.py", "^link.py isn't a .py file"),
        ("~no-such-user/bot", None, "^~no-such-user/bot isn't a folder"),
        ("x" * 5000, None, "isn't a folder"),
        ("empty", f"{'x' * 5000}.py", "x.py doesn't exist"),
    ],
)
def test_a_wrong_folder_or_file_gives_one_clear_line(
    folder: str,
    file: str | None,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "secrets.json").touch()
    (tmp_path / "link.py").symlink_to("secrets.json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackageError, match=complaint) as caught:
        BotFolder.at(folder, file)
    assert "\n" not in str(caught.value)


# What ships


def test_everything_ships_that_no_rule_leaves_out(folder: Path) -> None:
    names = [
        "README.md", "a/tests/test_a.py", "a/Makefile", "a/requirements.txt", "a/stack.py",
        "handlers.py", "prompts/Łódź – 1.txt", "requirements_engine.py", "tests.py", "words.csv",
    ]  # fmt: skip
    write_folder(folder, dict.fromkeys(names, "x = 1\n"))
    assert shipped(folder) == sorted([*names, "bot.py"])


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_bot.py",
        "Makefile",
        "cdk.json",
        "stack.py",
        "pyproject.toml",
        "requirements.txt",
        "requirements-dev.txt",
        "requirements.in",
        "requirements.lock",
        "requirements/base.txt",
        "uv.lock",
        ".env",
        ".git/config",
        "a/.env",
        "a/.cache/x",
        "a/__pycache__/x.nbi",
        "Thumbs.db",
        "a/x.pyc",
        "node_modules/x/index.js",
        "cdk.out/manifest.json",
        "bot.py~",
        "#bot.py#",
        "secrets.json",
        "Secrets.JSON",
        "a/secrets.json",
        "a/SECRETS.json/x.txt",
        "secrets.json.bak",
    ],
)
def test_what_is_not_the_bots_own_never_ships_nor_reloads_it(folder: Path, name: str) -> None:
    write_folder(folder, {name: "x = 1\n"})
    assert shipped(folder) == ["bot.py"]
    assert not BotFolder.at(str(folder)).ships(folder / name)


def test_a_virtual_environment_of_any_name_never_ships(folder: Path) -> None:
    write_folder(folder, {"a/env/pyvenv.cfg": "", "a/env/lib/x.py": "", "a/x.py": ""})
    assert shipped(folder) == ["a/x.py", "bot.py"]
    assert not BotFolder.at(str(folder)).ships(folder / "a/env/lib/x.py")
    assert BotFolder.at(str(folder)).ships(folder / "a/x.py")


def test_a_checkout_of_the_host_in_the_bots_folder_never_ships(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a git submodule; with it would ship each package that was built before."""
    monkeypatch.setattr("infra.package.shipped.ROOT", folder / "host")
    write_folder(folder, {"host/build/package/bot.py": "", "host/bot/bot.py": "", "hosts/x.py": ""})
    assert shipped(folder) == ["bot.py", "hosts/x.py"]
    assert not BotFolder.at(str(folder)).ships(folder / "host/bot/bot.py")


def test_links_inside_the_folder_ship_as_what_they_lead_to(folder: Path) -> None:
    write_folder(folder, {"data/words.csv": "a,b\n"})
    (folder / "words.csv").symlink_to("data/words.csv")
    (folder / "again").symlink_to(folder / "data")
    files = BotFolder.at(str(folder)).shipped().files
    assert [*files] == ["again/words.csv", "bot.py", "data/words.csv", "words.csv"]
    assert files["again/words.csv"].read_text() == "a,b\n"


def test_links_that_lead_out_nowhere_or_to_what_does_not_ship_are_named(
    folder: Path, tmp_path: Path
) -> None:
    write_folder(folder, {".env": "KEY=1", "tests/data.json": "{}", "secrets.json": "{}"})
    (tmp_path / "outside.txt").touch()
    links = {
        "env": ".env",
        "gone": "no-such-file",
        "itself": "itself",
        "outside": "../outside.txt",
        "parent": "..",
        "plain.json": "secrets.json",
        "tested.json": "tests/data.json",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    found = BotFolder.at(str(folder)).shipped()
    assert [*found.files] == ["bot.py"]
    assert found.stray_links == [*links]
    assert not [name for name in links if BotFolder.at(str(folder)).ships(folder / name)]


def test_a_bot_py_that_leads_out_of_the_folder_gives_one_clear_line(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "bot.py").rename(tmp_path / "shared.py")
    (folder / "bot.py").symlink_to("../shared.py")
    with pytest.raises(PackageError, match=f"^{folder}/bot.py leads to a file that doesn't ship:"):
        shipped(folder)
    bot = BotFolder.at(str(folder), str(tmp_path / "shared.py"))
    assert [*bot.shipped().files] == ["bot.py"]


def test_a_bot_py_that_is_a_folder_gives_one_clear_line(folder: Path) -> None:
    (folder / "bot.py").unlink()
    (folder / "bot.py").mkdir()
    for file in (None, str(folder)):
        with pytest.raises(PackageError, match=" is a folder: define the bot in a file, as `bot"):
            BotFolder.at(str(folder), file)


def test_a_bot_py_or_a_folder_that_goes_away_while_the_bot_runs_gives_one_clear_line(
    folder: Path,
) -> None:
    bot = BotFolder.at(str(folder))
    (folder / "bot.py").unlink()
    with pytest.raises(PackageError, match=f"^{folder}/bot.py doesn't exist: define the bot there"):
        bot.shipped()
    folder.rmdir()
    with pytest.raises(PackageError, match=f"^{folder} is gone: put it back, and start again$"):
        bot.shipped()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["words.csv", "data"])
def test_what_cannot_be_read_is_named_in_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    write_folder(folder, {"words.csv": "", "data/words.csv": ""})
    (folder / name).chmod(0)
    with pytest.raises(PackageError, match=f"Permission denied: '{folder}/{name}'$"):
        build(BotFolder.at(str(folder)), Target.here(), tmp_path / "package")
    (folder / name).chmod(0o700)


def test_a_folder_that_is_a_link_is_read_and_watched_as_any_other(
    folder: Path, tmp_path: Path
) -> None:
    write_folder(folder, {"data/words.csv": ""})
    (tmp_path / "current").symlink_to(folder)
    bot = BotFolder.at(str(tmp_path / "current"))
    assert [*bot.shipped().files] == ["bot.py", "data/words.csv"]
    assert bot.ships(tmp_path / "current/data/words.csv")
    assert bot.ships(folder / "data/words.csv")
    assert not bot.ships(tmp_path / "current/.env")


def test_links_that_lead_in_circles_are_followed_once(folder: Path) -> None:
    write_folder(folder, {"a/x.py": "", "b/y.py": ""})
    (folder / "all").symlink_to(".")
    (folder / "a/b").symlink_to("../b")
    (folder / "b/a").symlink_to("../a")
    assert shipped(folder) == ["a/b/y.py", "a/x.py", "b/a/x.py", "b/y.py", "bot.py"]


def test_the_secrets_do_not_ship_by_a_hard_link_either(folder: Path) -> None:
    write_folder(folder, {"secrets.json": "{}"})
    os.link(folder / "secrets.json", folder / "settings.json")
    assert shipped(folder) == ["bot.py"]
    assert not BotFolder.at(str(folder)).ships(folder / "settings.json")


def test_sockets_and_pipes_do_not_ship(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # a socket's path is short
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        assert shipped(folder) == ["bot.py"]


def test_a_name_that_is_not_utf_8_gives_one_clear_line(folder: Path) -> None:
    try:
        (folder / os.fsdecode(b"caf\xe9.txt")).touch()
    except OSError:
        pytest.skip("this file system refuses the name")
    with pytest.raises(PackageError, match=r"^the file name 'caf\\udce9.txt' isn't UTF-8: rename"):
        shipped(folder)


def test_what_ships_reloads_the_bot_even_when_it_is_gone(folder: Path, tmp_path: Path) -> None:
    bot = BotFolder.at(str(folder))
    assert bot.ships(folder / "prompts" / "deleted.txt")
    assert not bot.ships(tmp_path / "elsewhere.txt")
    assert not bot.ships(folder)


# In the package


def test_the_folder_lies_whole_in_the_package(tmp_path: Path) -> None:
    package = build_folder(
        tmp_path,
        {"bot.py": BOT, "app.py": "", "log.py": "", "data/words.csv": "a", "tests/test.py": ""},
    )
    files = {
        path.relative_to(package / "bot").as_posix()
        for path in (package / "bot").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files == {"bot.py", "app.py", "log.py", "data/words.csv"}


def test_a_program_that_a_bot_brings_can_be_started(tmp_path: Path, folder: Path) -> None:
    write_folder(folder, {"tools/convert": "#!/bin/sh\n", "words.csv": ""})
    (folder / "tools/convert").chmod(0o700)
    package = build(BotFolder.at(str(folder)), Target.here(), tmp_path / "package")
    assert oct((package / "bot/tools/convert").stat().st_mode) == "0o100755"
    assert oct((package / "bot/words.csv").stat().st_mode) == "0o100644"


def test_another_bot_file_takes_the_place_of_bot_py(tmp_path: Path, folder: Path) -> None:
    write_folder(folder, {"words.py": ""})
    (tmp_path / "mine.py").write_text("bot = 'mine'\n")
    bot = BotFolder.at(str(folder), str(tmp_path / "mine.py"))
    package = build(bot, Target.here(), tmp_path / "package")
    assert (package / "bot/bot.py").read_text() == "bot = 'mine'\n"
    assert (package / "bot/words.py").exists()
    assert bot.ships(tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"x = 1\n\0", "1: it has a NUL character, as UTF-16 has: save it as UTF-8$"),
        (b"\n'\xe9'", "[12]: it isn't UTF-8: save it as UTF-8$"),
        (b"x = 'caf\xe9'\n", "1: it isn't UTF-8: save it as UTF-8$"),
        ("x = 1".encode("utf-16"), "1: it "),
        (b"if 1:\n        x = 1\n\ty = 1\n", "3: inconsistent use of .*: use spaces alone$"),
        (b"class A:\nx = 1\n", "2: expected an indented block .*: x = 1$"),
    ],
)
def test_a_file_that_is_not_python_is_named_with_the_line_or_with_what_to_do(
    tmp_path: Path, folder: Path, content: bytes, complaint: str
) -> None:
    (folder / "bot.py").write_bytes(content)
    with pytest.raises(PackageError, match=f"bot.py:{complaint}"):
        build(BotFolder.at(str(folder)), Target.here(), tmp_path / "package")


@pytest.mark.parametrize("name", ["bot.py", "prompts/words.py"])
def test_a_syntax_error_names_the_users_own_file(
    tmp_path: Path, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    write_folder(folder, {name: "\nclass Mine(\n"})
    with pytest.raises(
        PackageError, match=f"^my bot ü/{name}:2: '[(]' was never closed: class Mine[(]$"
    ):
        build(BotFolder.at(str(folder)), Target.here(), tmp_path / "package")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match=f"^{folder}/{name}:2: "):
        build(BotFolder.at(str(folder)), Target.here(), tmp_path / "package")


def test_a_syntax_error_in_another_bot_file_names_that_file(tmp_path: Path, folder: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("\nclass Mine(\n")
    with pytest.raises(PackageError, match=f"^{mine}:2: '[(]' was never closed: class Mine[(]$"):
        build(BotFolder.at(str(folder), str(mine)), Target.here(), tmp_path / "package")


# Names of modules


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lock = Lock(ROOT / "handler" / "requirements.txt")
    return install_libraries(lock, Target.here(), tmp_path_factory.mktemp("libraries"))


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["app.py", "log.py", "events.py", "wire/__init__.py", "utils.py", "bot/__init__.py"], []),
        (["prompts/queue.py", "queue.txt", "queue/words.csv", "httpx/words.csv"], []),
        (["queue.py"], ["queue.py has the name of one of Python's own modules: `import queue`"]),
        (["email/__init__.py", "email/x.py"], ["email/ has the name of one of Python's own"]),
        (["httpx/__init__.py"], ["httpx/ has the name of a library: `import httpx`"]),
        (["typing_extensions.py"], ["typing_extensions.py has the name of a library"]),
        (["jiter.cpython-313-x86_64-linux-gnu.so"], []),
        (["json.cpython-313-x86_64-linux-gnu.so"], ["json.cpython-313-x86_64-linux-gnu.so has"]),
    ],
)
def test_a_module_named_like_pythons_or_a_librarys_gets_a_warning(
    files: list[str], named: list[str], libraries: Path
) -> None:
    warnings = check_names(files, libraries)
    assert len(warnings) == len(named)
    for warning, start in zip(warnings, named, strict=True):
        assert warning.startswith(start)


@pytest.mark.parametrize("file", ["handler.py", "handler/__init__.py", "handler/prompts.py"])
def test_handler_is_refused_by_name(file: str, folder: Path, tmp_path: Path) -> None:
    write_folder(folder, {file: ""})
    shown = "handler.py" if file == "handler.py" else "handler/"
    with pytest.raises(PackageError, match=f"^{shown}: the name handler is the host's own: rename"):
        build(BotFolder.at(str(folder)), Target.here(), tmp_path / "package")


def test_warnings_are_lines_on_stderr(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_folder(folder, {"queue.py": ""})
    (folder / "outside").symlink_to("..")
    build(BotFolder.at(str(folder)), Target.here(), tmp_path / "package")
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning: " in line]
    assert warnings == [
        "warning: outside is a link to something that doesn't ship: it's left out",
        "warning: queue.py has the name of one of Python's own modules: `import queue`, in your"
        " code or in a library's, can get either. Rename it.",
    ]
