"""The CDK app, for a bot in a folder of its own: by the CDK's own command line, and alone."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from infra import app
from infra.package.bot_folder import BotFolder
from infra.package.target import Target, this_architecture
from infra.toolchain import node
from infra.toolchain.folders import ROOT, made_aside
from infra.toolchain.pythons import this_version
from tests.support.bot_folder import remove_output, write_folder

pytestmark = pytest.mark.node

EXTENSION = """
from __future__ import annotations
from dataclasses import dataclass

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from names import TABLE

@dataclass
class Settings:
    table: str

def extend(stack):
    key = dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING)
    table = dynamodb.TableV2(stack, TABLE, partition_key=key)
    table.grant_read_write_data(stack.function)
    stack.function.add_environment("TABLE", table.table_name)
    s3.CfnBucket(stack, "Bucket", access_control="Nonsense")
"""


def synth(output: Path, *context: str) -> subprocess.CompletedProcess[str]:
    """By the CDK's own command line."""
    arguments = [part for each in context for part in ("-c", each)]
    command = [*node.cdk_command(), "synth", "--quiet", "--output", str(output), *arguments]
    return run(command, node.environment())


def run_app(output: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """The app alone, as the CDK's command line starts it."""
    given = {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(output)}
    return run([sys.executable, "-m", "infra.app"], node.environment() | given)


def run(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    context = {"memory": 2048, "arch": this_architecture(), "python": this_version()}
    own = json.dumps({"context": context})
    folder = write_folder(tmp_path / "zoë's bot", {"bot.py": "bot = None\n", "cdk.json": own})
    yield folder
    remove_output(folder)


def template(output: Path, stack: str) -> dict[str, Any]:
    return json.loads((output / f"{stack}.template.json").read_text())["Resources"]


def properties(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (each["Properties"] for each in resources.values() if each["Type"] == kind)
    return found


def test_the_folder_is_deployed_with_its_own_context_and_what_its_stack_py_adds_linted(
    folder: Path, tmp_path: Path
) -> None:
    write_folder(folder, {"stack.py": EXTENSION, "names.py": "TABLE = 'Visits'\n"})
    done = synth(tmp_path / "out", f"bot_dir={folder}", "timeout=100")
    assert done.returncode == 0, done.stdout + done.stderr
    resources = template(tmp_path / "out", "ZoeSBot")
    function = properties(resources, "AWS::Lambda::Function")
    assert (function["MemorySize"], function["Timeout"]) == (2048, 100)
    assert "TABLE" in function["Environment"]["Variables"]
    assert properties(resources, "AWS::DynamoDB::GlobalTable")
    (asset,) = (tmp_path / "out").glob("asset.*/bot/bot.py")
    assert asset.read_text() == "bot = None\n"
    assert not asset.with_name("stack.py").exists()
    assert not (folder / "__pycache__").exists()
    assert "WARNING AccessControl: 'Nonsense' is not one of" in done.stderr


def test_a_mistake_in_the_folder_is_one_line(folder: Path, tmp_path: Path) -> None:
    write_folder(folder, {"stack.py": "x = 1\n"})
    done = run_app(tmp_path / "out", bot_dir=str(folder))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "stack.py has no function `extend(stack)`" in line


def test_another_command_may_build_the_same_bots_package_meanwhile(
    folder: Path, tmp_path: Path
) -> None:
    bot = BotFolder.at(str(folder))
    package, ended = bot.output / f"package-{Target.here().name}", threading.Event()

    def swap() -> None:
        while not ended.wait(0.01):
            with suppress(OSError, shutil.Error), made_aside(package) as another:
                shutil.copytree(package, another, dirs_exist_ok=True, copy_function=os.link)

    with ThreadPoolExecutor(1) as threads:
        swapping = threads.submit(swap)
        try:
            done = run_app(tmp_path / "out", bot_dir=str(folder))
        finally:
            ended.set()
        swapping.result()
    assert done.returncode == 0, done.stderr


def test_a_package_that_lambda_would_not_take_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    with (folder / "model.bin").open("wb") as file:
        file.truncate(262_144_000)
    done = run_app(tmp_path / "out", bot_dir=str(folder))
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "Lambda takes 250 MB" in line
    assert not list(tmp_path.glob("out/asset.*"))


@pytest.mark.parametrize("text", ["ENOSPC: no space left on device, symlink 'x'", "other words"])
def test_a_disk_that_fills_up_is_one_line_and_other_faults_keep_theirs(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(app, "_synthesize", fail)
    expected: tuple[type[BaseException], str] = (RuntimeError, text)
    if "ENOSPC" in text:
        expected = (SystemExit, "error: the disk is full: make room")
    with pytest.raises(expected[0], match=expected[1]):
        app.main()
