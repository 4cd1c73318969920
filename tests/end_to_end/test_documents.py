"""The documents are true: their commands exist, their code runs, their links lead somewhere."""

import ast
import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import get_session

from infra.stack.options import Options
from infra.toolchain.folders import ROOT
from poe.standin.standin import PoeStandIn
from tests.support.documents import DOCUMENTS, README, Document
from tests.support.examples import Runner
from tests.support.package import KEY

PERSONS_KEY = "p" * 20
LOCAL = next(each for each in DOCUMENTS if each.file.name == "local-lambda.md")
MOVING = next(each for each in DOCUMENTS if each.file.name == "moving.md")

# Runs a cell as IPython does: `await` and `async for` stand at the top of it.
CELL = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
assert code.co_flags & inspect.CO_COROUTINE
asyncio.run(eval(code, {}))
"""

of_each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: each.file.name)


def make_targets() -> set[str]:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"^make ([a-z-]+)", listed.stdout, re.M))


def commands_of(program: str, documents: list[Document] = DOCUMENTS) -> Iterator[list[str]]:
    """The arguments of each call of `program`, after variables: `A=1 make run`."""
    for document in documents:
        for command in document.commands:
            call = re.search(rf"(?:^|\s){re.escape(program)} (.*)", command)
            if call and (words := shlex.split(call[1].split("`")[0])):
                yield words


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len(README.text.split()) <= 1500


def test_every_document_can_be_reached_from_the_readme() -> None:
    linked = {file.resolve() for file, _ in README.links}
    assert {each.file for each in DOCUMENTS} - {README.file} <= linked


def test_every_make_target_is_in_the_documents() -> None:
    assert make_targets() - {"help"} <= {words[0] for words in commands_of("make")}


@of_each_document
def test_every_make_command_exists_with_its_variables(document: Document) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = make_targets() | {"X"}  # "`make X` is commands/X.py"
    for words in commands_of("make", [document]):
        assert words[0] in targets, words
        for variable in re.findall(r"\b([A-Z][A-Z_]*)=", " ".join(words)):
            assert re.search(rf"[(,]{variable}\)", makefile), (words, variable)


def test_every_value_for_the_cdk_is_one_that_the_stack_takes() -> None:
    names = {field.name for field in fields(Options)}
    used = {
        name for document in DOCUMENTS for name in re.findall(r"(?<!make) -c (\w+)=", document.text)
    }
    assert used
    assert used <= names


def test_every_aws_command_exists_with_its_options() -> None:
    """As AWS's command line derives them from the services' models."""
    session = get_session()
    own = {"configure", "login", "sso"}  # what isn't a service's
    calls = [words for words in commands_of("aws") if words[0] not in own]
    assert calls
    for service, name, *options in calls:
        model = session.get_service_model(service)
        operations = {xform_name(each, "-"): each for each in model.operation_names}
        assert name in operations, (service, name)
        shape = model.operation_model(operations[name]).input_shape
        members = {"--" + xform_name(member, "-") for member in shape.members}
        assert {each for each in options if each.startswith("--")} <= members, (service, name)


def test_the_permissions_are_those_of_the_calls_that_the_commands_make() -> None:
    deploy = next(each for each in DOCUMENTS if each.file.name == "deploy.md")
    [policy] = map(json.loads, deploy.blocks("json"))
    first, second = policy["Statement"]
    assert first["Action"] == "sts:AssumeRole"  # the CDK's roles do the rest
    session = get_session()
    services = [*{action.split(":")[0] for action in second["Action"]}, "sts"]
    files = [*(ROOT / "infra" / "aws").glob("*.py"), *(ROOT / "commands").rglob("*.py")]
    code = "\n".join(file.read_text() for file in files)
    called = {
        f"{service}:{name}"
        for service in services
        for name in session.get_service_model(service).operation_names
        if re.search(rf"""[."]{xform_name(name)}["(]""", code)
    }
    # Every caller may ask who they are.
    assert set(second["Action"]) == called - {"sts:GetCallerIdentity"}


def test_every_module_that_is_run_has_the_options_that_it_is_given() -> None:
    calls = [words[1:] for words in commands_of(".venv/bin/python") if words[0] == "-m"]
    assert {"bench.cost", "local.aws_lambda"} <= {module for module, *_ in calls}
    for module, *arguments in calls:
        if module == "asyncio":
            continue
        shown = subprocess.run(
            [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert shown.returncode == 0, (module, shown.stderr)
        for option in arguments:
            assert not option.startswith("--") or option in shown.stdout, (module, option)


@of_each_document
def test_every_command_is_one_for_a_shell(document: Document) -> None:
    for command in document.commands:
        # `<its name on Poe>` stands for what the reader knows.
        line = re.sub(r"<[^>]*>", "X", command)
        checked = subprocess.run(["bash", "-n"], input=line, capture_output=True, text=True)
        assert checked.returncode == 0, (command, checked.stderr)


@of_each_document
def test_every_block_of_code_is_of_its_language(document: Document) -> None:
    for source in document.blocks("python"):
        compile(source, document.file.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for source in document.blocks("json"):
        json.loads(source)
    for source in document.blocks("toml"):
        tomllib.loads(source)
    known = {"", "python", "json", "toml", "diff"}
    assert set(re.findall(r"^ *```(\w+)$", document.text, re.M)) <= known


@of_each_document
def test_every_link_and_every_file_that_is_named_leads_somewhere(document: Document) -> None:
    headings = {each.file: each.anchors for each in DOCUMENTS}
    for file, anchor in document.links:
        assert file.exists(), file
        assert not anchor or anchor in headings[file.resolve()], (file, anchor)
    named = r"(?<![-\w./])(?:examples|handler|infra|local|poe|tests|bench|docs)/[\w/]+\.\w+"
    for name in re.findall(named, document.prose):
        assert (ROOT / name).exists(), name


@pytest.mark.anyio
@pytest.mark.parametrize(("having", "runner"), [("asyncio.run", None), ("\nasync for", CELL)])
async def test_a_script_talks_to_a_bot_on_poe(
    tmp_path: Path, having: str, runner: str | None
) -> None:
    [source] = LOCAL.blocks("python", having)
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
async def test_a_bot_that_was_moved_as_the_document_shows_runs(
    build_with_bot: Callable[[str], Path],
    runtime_python: Path,
    tmp_path: Path,
    origin: str,
    answer: str,
) -> None:
    [diff] = MOVING.blocks("diff", origin)
    moved = [line[1:] for line in diff.splitlines() if not line.startswith("-")]
    before = [line[1:] for line in diff.splitlines() if not line.startswith("+")]
    compile("\n".join(before), "before", "exec")
    async with Runner(build_with_bot, runtime_python, tmp_path).source("\n".join(moved)) as bot:
        turn = await bot.ask("hi")
    assert turn.text == answer
