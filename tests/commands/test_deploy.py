"""What `make deploy` checks, prints and refuses, short of a deployment."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from commands import deploy, register
from commands.before_deploying import agree_to
from commands.deployment import Deployment
from infra.aws.client import AwsError
from infra.aws.outputs import Outputs
from infra.aws.preflight import Account, check_concurrency
from infra.package.bot_folder import BotFolder
from infra.stack.options import Options
from infra.toolchain import cdk, node
from infra.toolchain.cdk import CdkError
from infra.toolchain.cdk_diff import Loss
from infra.toolchain.errors import FULL_DISK, UserError
from infra.toolchain.folders import ROOT
from tests.support.aws import REGION
from tests.support.aws import aws as cloud
from tests.support.bot_folder import remove_output, write_folder
from tests.support.home import NOBODYS

pytestmark = pytest.mark.node

NEW_ACCOUNT = Account("123456789012", "us-east-1", concurrency=10, unreserved=10, bootstrapped=True)
OLD_ACCOUNT = Account("123456789012", "us-east-1", 1000, 1000, bootstrapped=True)


def said_by(module: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Exit status and stderr of a command, on a machine without any AWS configuration."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={
            "PATH": node.environment()["PATH"],
            "HOME": NOBODYS,
            "AWS_EC2_METADATA_DISABLED": "true",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }
    server.stop()


@pytest.mark.parametrize("command", ["commands.deploy", "commands.destroy"])
def test_without_credentials_one_line_says_what_to_do(command: str) -> None:
    status, said = said_by(command, AWS_REGION="us-east-1")
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("error: no AWS credentials: log in (`aws sso login`")


def test_a_wrong_value_of_the_context_is_one_line_before_anything_is_asked() -> None:
    assert said_by("commands.deploy", "-c", "memory=1") == (
        1,
        "error: memory=1 is invalid: use 512 to 10240 MB"
        " (with less, a start leaves too little of Poe's 5 s)\n",
    )


def test_a_reservation_that_lambda_would_refuse_is_explained() -> None:
    wanted = 5
    with pytest.raises(AwsError, match="100 must stay unreserved, which leaves 0"):
        check_concurrency(NEW_ACCOUNT, wanted, reserved=0)
    assert check_concurrency(OLD_ACCOUNT, wanted, reserved=0) == ""


def test_what_the_stack_has_reserved_already_counts_as_free() -> None:
    account = Account("123456789012", "us-east-1", 1000, unreserved=100, bootstrapped=True)
    check_concurrency(account, 900, reserved=900)
    with pytest.raises(AwsError, match="which leaves 900"):
        check_concurrency(account, 901, reserved=900)


def test_a_new_accounts_few_conversations_are_remarked_on() -> None:
    remark = check_concurrency(NEW_ACCOUNT, None, reserved=0)
    assert remark.startswith("This account can run 10 conversations at once")
    assert check_concurrency(OLD_ACCOUNT, None, reserved=0) == ""


def test_a_registration_that_poe_refuses_does_not_fail_the_deployment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(bot: str, stack: str) -> bool:
        raise UserError(f"Poe knows no {bot} of {stack}")

    monkeypatch.setattr(register, "register", refuse)
    deploy.register_at_the_end(Options(bot_name="MyBot", stack="Mine"), " STACK=Mine")
    said = capsys.readouterr().out
    assert said.startswith("error: Poe knows no MyBot of Mine")
    assert "make register BOT=MyBot STACK=Mine" in said


def test_a_registered_bot_with_a_broken_promise_is_not_called_unregistered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(register, "register", lambda bot, stack: False)
    deploy.register_at_the_end(Options(bot_name="MyBot"))
    assert "not registered" not in capsys.readouterr().out


@pytest.mark.parametrize("place", ["command line", "cdk.json", "nowhere"])
def test_a_bots_name_in_the_context_registers_it_after_the_deployment(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered: list[tuple[str, str]] = []
    monkeypatch.setattr(register, "register", lambda *asked: registered.append(asked))
    monkeypatch.setattr(node, "cdk_command", lambda: ["true"])
    monkeypatch.setattr(deploy, "current_account", lambda: OLD_ACCOUNT)
    context = {"context": {"bot_name": "MyBot"}} if place == "cdk.json" else {}
    folder = write_folder(tmp_path / "bot", {"bot.py": "", "cdk.json": json.dumps(context)})
    given = ["-c", "bot_name=MyBot"] if place == "command line" else []
    with cloud() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        stack = aws.stack()
        deploy.main(["--bot-dir", str(folder), "--stack", stack.name, "--no-trial", *given])
    remove_output(folder)
    assert registered == ([] if place == "nowhere" else [("MyBot", stack.name)])
    said = capsys.readouterr().out
    assert f"{stack.name} is updated" in said
    assert "for a new bot" not in said


def test_a_stack_that_is_not_there_is_named_and_nothing_is_removed() -> None:
    with cloud() as aws:
        status, said = said_by("commands.destroy", "--stack", "Nope", "--yes", **aws.environment)
    assert (status, said) == (
        1,
        f"error: there is no stack Nope in {REGION}: nothing was removed, check STACK and"
        " AWS_REGION\n",
    )


def test_what_managed_instances_cost_is_printed_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(node, "cdk_command", lambda: ["true"])
    monkeypatch.setattr(deploy, "current_account", lambda: NEW_ACCOUNT)
    context = json.dumps({"context": {"concurrency": 64}})
    folder = write_folder(tmp_path / "bot", {"bot.py": "", "cdk.json": context})
    command = ["--bot-dir", str(folder), "--no-trial"]
    with cloud() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        stack = aws.stack()
        deploy.main([*command, "--stack", stack.name])
        said = capsys.readouterr().out
        deploy.main([*command, "--stack", stack.name, "-c", "concurrency="])
        said_without = capsys.readouterr().out
    remove_output(folder)
    assert said.index("Managed Instances cost about $216 a month") < said.index("Building")
    assert "conversations at once" not in said  # the account's few don't limit instances
    assert "Managed Instances" not in said_without
    assert "This account can run 10 conversations at once" in said_without


BOT = """
import os
import fastapi_poe as fp

os.environ["HAS"], os.environ["LACKS"], os.environ["OF_THE_STACK"], os.environ["OWN"]
bot = fp.PoeBot()
"""


@pytest.mark.parametrize("is_readable", [True, False])
def test_what_only_the_secret_has_is_named_and_what_it_lacks_has_a_command(
    is_readable: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(node, "cdk_command", lambda: ["true"])
    monkeypatch.setattr(deploy, "current_account", lambda: OLD_ACCOUNT)
    monkeypatch.setattr(Deployment, "function_variables", lambda self: {"OF_THE_STACK"})
    folder = write_folder(tmp_path / "bot", {"bot.py": BOT, "secrets.json": '{"OWN": "x"}'})
    (folder / "secrets.json").chmod(0o600)
    with cloud() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        members = json.dumps({"POE_ACCESS_KEY": "k" * 32, "HAS": "its value"})
        stack = aws.stack(text=members if is_readable else "[]")
        deploy.main(["--bot-dir", str(folder), "--stack", stack.name])
    remove_output(folder)
    said = capsys.readouterr().out
    assert "It starts, with placeholders for HAS, LACKS, OF_THE_STACK (" in said
    commands = re.findall(r"make set-secret NAME=(\w+)", said)
    assert commands == (["LACKS", "OWN"] if is_readable else [])
    assert "its value" not in said


def test_what_the_stack_gives_its_function_is_read_from_its_template(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    function = {"Environment": {"Variables": {"COUNTS_TABLE": {"Ref": "Counts"}}}}
    resources = {
        "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
        "Plain": {"Type": "AWS::Lambda::Function", "Properties": {}},
        "Wait": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
    }
    (tmp_path / "Mine.template.json").write_text(json.dumps({"Resources": resources}))
    monkeypatch.setattr(Deployment, "assembly", tmp_path)
    deployment = Deployment(BotFolder.at(), {"stack": "Mine"})
    assert deployment.function_variables() == {"COUNTS_TABLE"}


ALARM = Loss("AWS::CloudWatch::Alarm", "Throttles", "destroy")
TABLE = Loss("AWS::DynamoDB::Table", "Counts", "orphan")


def test_what_is_taken_away_is_named_and_nothing_goes_unasked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError, match="^nothing was deployed: run `make deploy YES=yes`"):
        agree_to([ALARM, TABLE], "Mine", agreed=False)
    said = capsys.readouterr().out
    assert "  removes      AWS::CloudWatch::Alarm  Throttles\n" in said
    assert "  gives up     AWS::DynamoDB::Table  Counts (stays in the account)\n" in said
    agree_to([ALARM], "Mine", agreed=True)
    assert "Throttles" in capsys.readouterr().out
    agree_to([], "Mine", agreed=False)
    assert capsys.readouterr().out == ""


def test_a_move_off_managed_instances_is_two_lines_and_the_new_address_is_for_poe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    agree_to(
        [
            Loss("AWS::Lambda::Url", "Live/FunctionUrl", "replace"),
            Loss("AWS::EC2::VPC", "Instances/Vpc", "destroy"),
            Loss("AWS::EC2::EIP", "Instances/Vpc/NatSubnet1/EIP", "destroy"),
        ],
        "Mine",
        agreed=True,
    )
    said = capsys.readouterr().out
    assert (
        "  replaces     AWS::Lambda::Url  Live/FunctionUrl"
        " (a new address, which the bot's form on Poe needs)\n"
        "  removes      2 resources of the Managed Instances\n"
    ) in said


@pytest.mark.parametrize("is_new", [True, False])
def test_a_url_that_changed_has_to_be_pasted_into_poes_form(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    is_new: bool,
) -> None:
    monkeypatch.setattr(node, "cdk_command", lambda: ["true"])
    monkeypatch.setattr(deploy, "current_account", lambda: OLD_ACCOUNT)
    urls = ["https://one", "https://two" if is_new else "https://one"]
    monkeypatch.setattr(deploy, "outputs", lambda stack: Outputs(urls.pop(0), "arn", "logs"))
    folder = write_folder(tmp_path / "bot", {"bot.py": ""})
    with cloud() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        deploy.main(["--bot-dir", str(folder), "--stack", aws.stack().name, "--no-trial"])
    remove_output(folder)
    assert ("paste it into the bot's form on Poe" in capsys.readouterr().out) == is_new


def test_the_address_of_a_dashboard_and_the_mail_to_confirm_are_shown_where_they_apply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deploy, "is_pending", lambda topic, email: topic == "pending")
    mine = Outputs("https://url", "arn", "logs")
    assert deploy._addresses(mine, Options()) == "  URL        https://url\n"
    full = replace(mine, dashboard="https://console", alarm_topic="pending")
    said = deploy._addresses(full, Options(alarm_email="me@example.org"))
    assert "  Dashboard  https://console\n" in said
    assert "the mail that AWS sent to me@example.org" in said
    confirmed = replace(full, alarm_topic="confirmed")
    assert "mail" not in deploy._addresses(confirmed, Options(alarm_email="me@example.org"))


Put = Callable[[list[str], int], None]


@pytest.fixture
def cdk_that_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Put:
    """Puts a program in the CDK's place that prints these lines and exits with this status."""

    def put(lines: list[str], status: int) -> None:
        text = tmp_path / "lines"
        text.write_text("".join(f"{line}\n" for line in lines))
        script = ["sh", "-c", f"cat {text}; exit {status}"]
        monkeypatch.setattr(node, "cdk_command", lambda: script)

    return put


def test_the_cdks_output_is_shown_as_it_comes_and_kept(cdk_that_says: Put, tmp_path: Path) -> None:
    cdk_that_says(["Synthesis", "", " a\tb "], 0)
    said: list[str] = []
    cdk.run("deploy", show=said.append, log=tmp_path / "log")
    assert said == ["Synthesis", "", " a\tb "]
    assert (tmp_path / "log").read_text() == "Synthesis\n\n a\tb \n"


def test_a_bootstrap_runs_no_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prints_its_arguments = ["sh", "-c", "printf '<%s>\\n' \"$@\"", "cdk"]
    monkeypatch.setattr(node, "cdk_command", lambda: prints_its_arguments)
    said: list[str] = []
    cdk.bootstrap("123456789012", "us-east-1", show=said.append, log=tmp_path / "log")
    assert said[:4] == ["<bootstrap>", "<aws://123456789012/us-east-1>", "<--app>", "<>"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["error: no bot file x.py", "…infra.app: Subprocess exited with 1"], "no bot file x.py"),
        (
            ["❌  PoeBot failed: the reason", "at Object.<anonymous>", ""],
            "PoeBot failed: the reason",
        ),
        (["some words", "the last words", ""], "the last words"),
        (["Error: ENOSPC: no space left on device, write", "  at x.js:1"], FULL_DISK),
        (["OSError: [Errno 28] No space left on device: 'x'", "the last"], FULL_DISK),
        ([], "it printed nothing"),
    ],
)
def test_a_failure_gives_its_reason_and_where_the_rest_is(
    cdk_that_says: Put, lines: list[str], reason: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    cdk_that_says(lines, 1)
    with pytest.raises(CdkError) as raised:
        cdk.run("deploy", show=[].append, log=log)
    assert str(raised.value) == f"{reason} (the CDK's whole output: {log})"


@pytest.mark.parametrize(("version", "is_used"), [("v22.1.0", True), ("v20.20.2", False)])
def test_a_node_on_the_path_is_used_if_it_is_new_enough(
    version: str, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = node.find()
    assert (found is not None and found.folder == tmp_path) == is_used


def test_the_lock_file_holds_for_any_registry() -> None:
    """And the CDK's command line is pinned exactly: its `latest` refuses this library's output."""
    lock = (ROOT / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "://" not in lock
    assert '"aws-cdk": "2.1148.1"' in (ROOT / "package.json").read_text()
