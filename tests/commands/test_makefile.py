"""What `make` prints and starts, how Python is found, and when .venv is built again."""

import os
import re
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.package.target import configured_python
from infra.toolchain.folders import ROOT
from infra.toolchain.pythons import this_version
from tests.support.home import NOBODYS

PIN = ".python-version"
PYTEST = (
    ".venv/bin/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder"
)
COVERAGE = "--cov --cov-report=term-missing"
# Homebrew's places are searched too, and a test can't empty them.
needs_an_empty_machine = pytest.mark.skipif(sys.platform == "darwin", reason="has Homebrew")


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def output_of(*command: str | Path, cwd: Path = ROOT, **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_make_alone_prints_every_target_with_what_it_does() -> None:
    status, printed, _ = output_of("make", PATH=os.environ["PATH"])
    listed = re.findall(r"^make ([a-z-]+) +\S", printed, re.M)
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z-]*):", makefile, re.M)
    assert status == 0
    assert listed == [target for target in targets if not target.startswith("venv")]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["run"], ".venv/bin/python -m commands.run"),
        (["new", "DIR=it's"], r".venv/bin/python -m commands.new --dir='it'\''s'"),
        (
            ["run", "PORT=9001", "BOT_FILE=examples/x.py"],
            ".venv/bin/python -m commands.run --bot-file='examples/x.py' --port='9001'",
        ),
        (
            ["chat", "URL=http://127.0.0.1:9001", "BOT=GPT-3.5-Turbo", "ATTACH=-a b.txt"],
            ".venv/bin/python -m commands.chat --url='http://127.0.0.1:9001'"
            " --bot='GPT-3.5-Turbo' --attach='-a b.txt'",
        ),
        (
            ["set-key", "STACK=Other", "RESET=yes"],
            ".venv/bin/python -m commands.set_secret set-key --stack='Other' --reset",
        ),
        (["set-key", "RESET=no"], ".venv/bin/python -m commands.set_secret set-key"),
        (
            ["set-secret", "NAME=A_KEY", "REMOVE=yes"],
            ".venv/bin/python -m commands.set_secret set-secret --name='A_KEY' --remove",
        ),
        (["register", "BOT=My-Bot"], ".venv/bin/python -m commands.register --bot='My-Bot'"),
        (
            ["check", "URL=https://bot.example", "TEXT=What's new?"],
            ".venv/bin/python -m commands.check --url='https://bot.example'"
            " --text='What'\\''s new?'",
        ),
        (["check", "TEXT=$HOME $$"], ".venv/bin/python -m commands.check --text='$HOME $$'"),
        (["logs", "SINCE=2h"], ".venv/bin/python -m commands.logs --since='2h'"),
        (
            ["deploy", "BOT_DIR=../a, it's ü", "CALLER=/x y", "STACK=B", "ARGS=-c memory=1769"],
            ".venv/bin/python -m commands.deploy --bot-dir='../a, it'\\''s ü' --caller='/x y'"
            " --stack='B' -c memory=1769",
        ),
        (["test", "ARGS=-k stream -x"], f"{PYTEST} -m 'not slow' -k stream -x"),
        (["test-all", "ARGS=tests/handler"], f"{PYTEST} {COVERAGE} tests/handler"),
        (
            ["package", "PYTHON=3.12", "ARCH=arm64"],
            ".venv/bin/python -m commands.package --python='3.12' --arch='arm64'",
        ),
    ],
)
def test_variables_reach_the_commands_as_options(arguments: list[str], command: str) -> None:
    _, printed, _ = output_of("make", "--dry-run", *arguments, PATH=os.environ["PATH"])
    assert " ".join(printed.replace("\\\n", "").split()).endswith(f"exec {command}")


@pytest.mark.parametrize("target", ["run", "logs", "register", "set-key", "deploy", "package"])
def test_every_verb_takes_a_bots_folder(target: str) -> None:
    variables = ("BOT_DIR=../my-bot", "CALLER=/there")
    _, printed, _ = output_of("make", "--dry-run", target, *variables, PATH=os.environ["PATH"])
    assert "--bot-dir='../my-bot' --caller='/there'" in printed


def test_a_variable_of_another_program_is_not_taken_for_the_callers_folder() -> None:
    environment = {"PATH": os.environ["PATH"], "CALLER": "/theirs", "NAME": "theirs"}
    for target in ("run", "set-secret"):
        _, printed, _ = output_of("make", "--dry-run", target, **environment)
        assert "theirs" not in printed


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with what a shell script needs, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("cat", "cksum", "dirname", "grep", "mkdir", "rm", "sed", "sh", "tail", "tr"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def find(tools: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    find_python = ROOT / "infra" / "toolchain" / "find-python.sh"
    return output_of("sh", find_python, *arguments, PATH=str(tools), HOME=NOBODYS, **environment)


def test_a_pyenv_shim_that_only_fails_is_passed_over(tools: Path, tmp_path: Path) -> None:
    version = this_version()
    executable(tools / f"python{version}", "echo 'command not found' >&2; exit 127")
    real = tmp_path / f"pyenv/versions/{version}.7/bin/python{version}"
    executable(real, f'exec "{sys.executable}" "$@"')
    status, found, remark = find(tools, version, PYENV_ROOT=str(tmp_path / "pyenv"))
    assert (status, remark) == (0, "")
    assert output_of(found.strip(), "--version")[1].startswith(f"Python {version}.")


def test_another_python_will_do_with_a_remark_unless_the_exact_one_is_asked_for(
    tools: Path,
) -> None:
    executable(tools / "python3", f'exec "{sys.executable}" "$@"')
    status, found, remark = find(tools, "3.99")
    assert (status, remark.count("\n")) == (0, 1)
    assert remark.startswith(f"No Python 3.99 here: using {found.strip()}.")
    assert find(tools, "3.99", "exact") == (1, "", "")


@needs_an_empty_machine
def test_a_machine_without_a_modern_python_gets_one_clear_line(tools: Path) -> None:
    error = "error: no Python 3.11 or newer found: install Python 3.13.\n"
    assert find(tools, "3.13") == (1, "", error)


@needs_an_empty_machine
def test_a_python_without_venv_gets_one_clear_line(tools: Path) -> None:
    """As Debian's is, where python3-venv is a package of its own."""
    without = f'case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"'
    executable(tools / "python3", without)
    status, _, error = find(tools, "3.13")
    assert (status, error.count("\n")) == (1, 1)
    assert error.endswith(
        "can't make virtual environments: install python3-venv (apt-get) or uv.\n"
    )


class Checkout:
    """A project's folder with the Makefile, and a Python that only notes what it is asked to do."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder, self.tools = folder, tools
        self.notes = notes = tools / "notes"
        uv = (
            f'echo "uv $*" >>{notes}; '
            f"[ ! -e {tools}/breaks ] || {{ sleep 0.1; echo half >.venv/lib/library; }};"
            f" [ ! -e {tools}/no-network ] || {{ cat {tools}/no-network; exit 2; }}"
        )
        python = executable(
            tools / "python",
            f"""
case "$*" in
    -SEsc*) exec "{sys.executable}" "$@" ;;
    "-m venv .venv") sleep 0.2; echo venv >>{notes}; mkdir -p .venv/bin .venv/lib
        cp "$0" .venv/bin/python ;;
    *"pip install"*) printf '%s\\n' '#!/bin/sh' '{uv}' >.venv/bin/uv; chmod 755 .venv/bin/uv ;;
    --version) echo Python 3.13 ;;
esac""",
        )
        for name in ("chmod", "cmp", "cp", "find", "make", "sleep", "touch"):
            (tools / name).symlink_to(str(shutil.which(name)))
        folder.mkdir()
        for name in PIN, "Makefile", "cdk.json":
            shutil.copy(ROOT / name, folder)
        found = f'echo "$*" >>{tools}/sought; [ "$*" != "3.98 exact" ] && echo {python}'
        executable(folder / "infra/toolchain/find-python.sh", found)
        shutil.copy(ROOT / "infra/toolchain/setup-failed.sh", folder / "infra/toolchain")
        (folder / "requirements-uv.txt").write_text("uv\n")
        (folder / "requirements.txt").write_text("pytest\n")

    def set_up(self, **environment: str) -> tuple[bool, list[str]]:
        """Whether it succeeded, and what ran: "venv", "uv"."""
        self.notes.write_text("")
        status, _, self.said = self.run(**environment)
        return status == 0, [line.split()[0] for line in self.notes.read_text().splitlines()]

    def run(self, **environment: str) -> tuple[int, str, str]:
        return output_of("make", "venv", cwd=self.folder, PATH=str(self.tools), **environment)


@pytest.fixture
def checkout(tmp_path: Path, tools: Path) -> Checkout:
    return Checkout(tmp_path / "a user's checkout", tools)


def test_a_second_setup_has_nothing_to_do_and_nothing_to_say(checkout: Checkout) -> None:
    assert checkout.set_up() == (True, ["venv", "uv"])
    assert checkout.said.count("\n") == 2
    assert checkout.set_up() == (True, [])
    assert checkout.said == ""


def test_changed_requirements_are_installed_into_the_same_venv(checkout: Checkout) -> None:
    """An archive's files have the times of their commits, long before the last installation."""
    checkout.set_up()
    (checkout.folder / "requirements.txt").write_text("pytest\nruff\n")
    os.utime(checkout.folder / "requirements.txt", (0, 0))
    assert checkout.set_up() == (True, ["uv"])
    assert checkout.set_up() == (True, [])


def test_only_wheels_with_known_hashes_are_installed(checkout: Checkout) -> None:
    checkout.set_up()
    installed = checkout.notes.read_text()
    assert "--require-hashes --only-binary :all: -r requirements.txt\n" in installed


def test_another_uv_makes_a_new_venv(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.folder / "requirements-uv.txt").write_text("uv==2\n")
    assert checkout.set_up() == (True, ["venv", "uv"])


def test_another_python_in_the_pin_makes_a_new_venv(checkout: Checkout) -> None:
    checkout.set_up()
    pin = checkout.folder / PIN
    pin.write_text(pin.read_text().replace(configured_python(), "3.99"))
    assert checkout.set_up() == (True, ["venv", "uv"])


def test_venv_python_makes_a_venv_of_exactly_that_version(checkout: Checkout) -> None:
    checkout.set_up()
    assert checkout.set_up(VENV_PYTHON="3.99") == (True, ["venv", "uv"])
    assert checkout.set_up(VENV_PYTHON="3.99") == (True, [])
    assert checkout.set_up() == (True, ["venv", "uv"])
    sought = (checkout.tools / "sought").read_text().splitlines()
    configured = configured_python()
    assert sought == [configured, "3.99 exact", configured]


def test_venv_python_that_is_not_here_gets_one_clear_line(checkout: Checkout) -> None:
    assert checkout.set_up(VENV_PYTHON="3.98") == (False, [])
    error = "error: VENV_PYTHON=3.98: this machine has no such Python; use one like 3.13"
    assert checkout.said.splitlines()[0] == error


def test_an_interpreter_that_is_gone_makes_a_new_venv(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.folder / ".venv/bin/python").unlink()
    assert checkout.set_up() == (True, ["venv", "uv"])


def test_a_checkout_that_moved_makes_a_new_venv(checkout: Checkout, tmp_path: Path) -> None:
    checkout.set_up()
    checkout.folder = checkout.folder.rename(tmp_path / "moved")
    assert checkout.set_up() == (True, ["venv", "uv"])


def test_a_failed_update_shows_the_installers_words_and_leads_to_a_new_venv(
    checkout: Checkout,
) -> None:
    checkout.set_up()
    (checkout.folder / "requirements.txt").write_text("pytest\nruff\n")
    faults = [checkout.tools / "no-network", checkout.tools / "breaks"]
    for fault in faults:
        fault.write_text("no wheel\n")
    assert checkout.set_up() == (False, ["uv"])
    assert "no wheel\nerror: setting up .venv failed, see above: fix that, and" in checkout.said
    for fault in faults:
        fault.unlink()
    assert checkout.set_up() == (True, ["venv", "uv"])
    assert checkout.set_up() == (True, [])


def test_an_update_that_fails_before_it_changes_anything_leaves_the_venv_as_it_was(
    checkout: Checkout,
) -> None:
    """`make deploy` without a network must not take `make run` away."""
    checkout.set_up()
    required = checkout.folder / "requirements.txt"
    required.write_text("pytest\nruff\n")
    (checkout.tools / "no-network").touch()
    assert checkout.set_up() == (False, ["uv"])
    required.write_text("pytest\n")
    assert checkout.set_up() == (True, [])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("Temporary failure in name resolution", "error: .venv can't be set up without a network:"),
        ("[Errno 28] No space left on device", "error: the disk is full: make room, and run the"),
    ],
)
def test_a_setup_without_network_or_room_gives_one_clear_line(
    checkout: Checkout, words: str, line: str
) -> None:
    checkout.set_up()
    (checkout.folder / "requirements.txt").write_text("pytest\nruff\n")
    (checkout.tools / "no-network").write_text(f"many\nlines, {words}\n")
    assert checkout.set_up() == (False, ["uv"])
    assert "many" not in checkout.said
    assert checkout.said.splitlines()[1].startswith(line)


@pytest.mark.parametrize("in_the_way", ["build", "build/venv.lock/x"])
def test_a_checkout_that_cannot_be_written_gives_one_clear_line(
    checkout: Checkout, in_the_way: str
) -> None:
    (checkout.folder / in_the_way).parent.mkdir(parents=True, exist_ok=True)
    (checkout.folder / in_the_way).write_text("")
    assert checkout.set_up() == (False, [])
    assert checkout.said.splitlines()[0] == (
        f"error: {checkout.folder}/build can't be written:"
        " make it writable, or use a checkout of your own"
    )


def test_two_setups_at_once_make_one_venv(checkout: Checkout) -> None:
    with ThreadPoolExecutor() as threads:
        first, second = (threads.submit(checkout.run) for _ in range(2))
    assert (first.result()[0], second.result()[0]) == (0, 0)
    assert checkout.notes.read_text().split().count("venv") == 1
