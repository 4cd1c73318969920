"""The README says what is so: its commands exist, its code runs, its links lead somewhere."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.toolchain.folders import ROOT
from poe.standin.standin import PoeStandIn
from tests.support.examples import Runner
from tests.support.package import KEY

README = (ROOT / "README.md").read_text()
CODE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
PERSONS_KEY = "p" * 20

# Runs a cell as IPython does: `await` and `async for` stand at the top of it.
CELL = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
assert code.co_flags & inspect.CO_COROUTINE
asyncio.run(eval(code, {}))
"""


def blocks(language: str, having: str = "") -> list[str]:
    return [code for name, code in CODE.findall(README) if name == language and having in code]


def make_targets() -> set[str]:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"^make ([a-z-]+)", listed.stdout, re.M))


def make_commands() -> set[tuple[str, frozenset[str]]]:
    """Every `make …` of the README, in text and in blocks: the target, and the variables given."""
    without_blocks = CODE.sub("", README)
    written = re.findall(r"`([^`\n]*)`", without_blocks) + "".join(blocks("")).splitlines()
    commands = [
        line.split("make ", 1)[1] for line in written if re.search(r"(^|\s)make [a-z]", line)
    ]
    return {
        (command.split()[0], frozenset(re.findall(r"\b([A-Z][A-Z_]*)=", command)))
        for command in commands
    }


def test_every_make_target_is_in_the_readme() -> None:
    assert make_targets() - {"help"} <= {target for target, _ in make_commands()}


def test_every_make_command_in_the_readme_exists_with_its_variables() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = make_targets()
    for target, variables in make_commands():
        assert target in targets, target
        for variable in variables:
            assert re.search(rf"[(,]{variable}\)", makefile), (target, variable)


def test_every_file_that_the_readme_names_is_there() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    for name in re.findall(r"(?<![-\w])(?:examples|handler|infra|local|tests)/[\w/]+\.\w+", README):
        assert (ROOT / name).exists(), name


def test_every_heading_that_the_readme_links_to_is_there() -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for anchor in re.findall(r"\]\(#([^)]+)\)", README):
        assert anchor in anchors


@pytest.mark.anyio
@pytest.mark.parametrize(("having", "runner"), [("asyncio.run", None), ("\nasync for", CELL)])
async def test_a_script_talks_to_a_bot_on_poe(
    tmp_path: Path, having: str, runner: str | None
) -> None:
    [source] = blocks("python", having)
    async with PoeStandIn(
        access_key=KEY, personal_key=PERSONS_KEY, folder=tmp_path, on_line=lambda line: None
    ) as poe:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, *(["-c", runner] if runner else ["-"])],
            input=source,
            capture_output=True,
            text=True,
            env=os.environ | poe.environment | {"POE_API_KEY": PERSONS_KEY},
            timeout=30,
        )
    assert done.stderr == ""
    assert done.stdout.endswith(
        "stand in for GPT-3.5-Turbo on your own machine. You said: Hello world"
    )


@pytest.mark.anyio
@pytest.mark.parametrize(("origin", "answer"), [("modal", "Hello"), ("fp.run", "hi")])
async def test_a_bot_that_was_moved_as_the_readme_shows_runs(
    build_with_bot: Callable[[str], Path],
    runtime_python: Path,
    tmp_path: Path,
    origin: str,
    answer: str,
) -> None:
    [diff] = blocks("diff", origin)
    moved = [line[1:] for line in diff.splitlines() if not line.startswith("-")]
    before = [line[1:] for line in diff.splitlines() if not line.startswith("+")]
    compile("\n".join(before), "before", "exec")
    async with Runner(build_with_bot, runtime_python, tmp_path).source("\n".join(moved)) as bot:
        turn = await bot.ask("hi")
    assert turn.text == answer
