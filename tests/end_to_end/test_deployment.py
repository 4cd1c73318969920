"""From nothing to a streaming bot and back, by `make deploy` and its kin, against a local AWS.

The CDK's command line and library are unmodified. The local AWS neither streams nor honours the
wrapper: the deployed zip, with the variables and the secret that the stack gave it, runs in the
local Lambda instead.
"""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

import commands.deployment
from infra.package.bot_folder import BotFolder
from infra.package.target import this_architecture
from infra.toolchain.folders import ROOT
from infra.toolchain.pythons import this_version
from local.aws import deployed
from local.aws.ministack import REGION, MiniStack, ministack
from local.aws_lambda.service import LocalLambda
from poe.client.conversation import Conversation, Refused
from poe.client.turn import Turn

# A deployment takes half a minute, on a busy machine more.
pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.timeout(300)]

STACK = "EndToEnd"
# What the first deployment has, and the next one leaves out.
EXTRAS = ("-c", "alarm_email=me@example.org", "-c", "dashboard=true")
PACE_S = 0.2
NEW_KEY = "k" * 32


def bot(greeting: str) -> str:
    return textwrap.dedent(f"""
        import asyncio
        import fastapi_poe as fp

        class Bot(fp.PoeBot):
            async def get_response(self, request):
                for word in ("{greeting} ", request.query[-1].content, " ", "and bye"):
                    yield fp.PartialResponse(text=word)
                    await asyncio.sleep({PACE_S})

        bot = Bot()
        """)


@dataclass
class World:
    """A local AWS, and the project's commands that believe it is AWS."""

    aws: MiniStack
    folder: Path

    @property
    def bot_file(self) -> Path:
        return self.folder / "bot.py"

    @property
    def context(self) -> list[str]:
        return self.context_of(stack=STACK, bot_file=self.bot_file)

    def context_of(self, **values: object) -> list[str]:
        """With this machine's processor and Python, so that the package runs here."""
        chosen = {"arch": this_architecture(), "python": this_version(), **values}
        return [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]

    def attempt(
        self, module: str, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command of the project."""
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=self.aws.environment(),
            input=stdin,
            capture_output=True,
            text=True,
        )

    def run(self, module: str, *arguments: str, stdin: str = "") -> str:
        """What a command prints. Fails the test if the command fails."""
        done = self.attempt(module, *arguments, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, service: str, credentials: Mapping[str, str] | None = None) -> Any:
        mine = self.aws.credentials.environment
        keys = credentials or {name.lower(): value for name, value in mine.items()}
        return boto3.client(service, endpoint_url=self.aws.endpoint, region_name=REGION, **keys)

    def deploy(self, greeting: str, *options: str) -> "Deployment":
        self.bot_file.write_text(bot(greeting))
        said = self.run("commands.deploy", *self.context, *options)
        return Deployment.seen_by(self, said)


@dataclass(frozen=True)
class Deployment:
    """All that AWS knows of the stack after a deployment."""

    said: str
    outputs: dict[str, str]
    function: deployed.Deployed
    alias: dict[str, Any]
    url: dict[str, Any]
    statements: list[dict[str, Any]]  # who may call the URL
    policy: list[dict[str, Any]]  # what the role may do
    managed_policies: list[str]
    secret: dict[str, str]
    retention_days: int

    @classmethod
    def seen_by(cls, world: World, said: str, stack_name: str = STACK) -> "Deployment":
        (stack,) = world.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in world.aws.variables.items():
                patch.setenv(name, value)
            function = deployed.fetch(stack_name)
        functions, iam = world.client("lambda"), world.client("iam")
        of_alias = {"FunctionName": function.configuration["FunctionName"], "Qualifier": "live"}
        role = function.configuration["Role"].rpartition("/")[2]
        inline = iam.list_role_policies(RoleName=role)["PolicyNames"]
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        (group,) = world.client("logs").describe_log_groups(logGroupNamePrefix=outputs["LogGroup"])[
            "logGroups"
        ]
        return cls(
            said,
            outputs,
            function,
            functions.get_alias(FunctionName=of_alias["FunctionName"], Name="live"),
            functions.get_function_url_config(**of_alias),
            json.loads(functions.get_policy(**of_alias)["Policy"])["Statement"],
            [
                statement
                for name in inline
                for statement in iam.get_role_policy(RoleName=role, PolicyName=name)[
                    "PolicyDocument"
                ]["Statement"]
            ],
            [each["PolicyName"] for each in attached],
            secret_of(world, outputs["SecretArn"]),
            group["retentionInDays"],
        )

    @property
    def key(self) -> str:
        return self.secret["POE_ACCESS_KEY"]


def secret_of(world: World, arn: str) -> dict[str, str]:
    return json.loads(world.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("end-to-end")
    with ministack(folder / "aws", auth=True) as aws:
        yield World(aws, folder)


@pytest.fixture(scope="module")
def refused(world: World) -> subprocess.CompletedProcess[str]:
    """An attempt before the CDK's own stack exists, without a terminal to ask at."""
    world.bot_file.write_text(bot("good morning"))
    return world.attempt("commands.deploy", *world.context, "--no-trial")


@pytest.fixture(scope="module")
def first(world: World, refused: subprocess.CompletedProcess[str]) -> Deployment:
    return world.deploy("good morning", *EXTRAS, "--bootstrap")


async def test_nothing_is_bootstrapped_unasked(refused: subprocess.CompletedProcess[str]) -> None:
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: nothing was deployed: run `make deploy BOOTSTRAP=yes`")


async def test_a_first_deployment_bootstraps_and_prints_url_and_next_steps(
    first: Deployment,
) -> None:
    assert first.outputs["FunctionUrl"] in first.said
    steps = ["create_bot?server=1", "make set-key", "Paste the URL", "make register"]
    places = [first.said.index(step) for step in steps]
    assert places == sorted(places)
    assert first.key not in first.said
    assert "It starts (" in first.said  # here, before anything was created


async def test_a_plain_stack_waits_for_no_linter(world: World, first: Deployment) -> None:
    bot = BotFolder.at(bot_file=str(world.bot_file))
    assembly = commands.deployment.Deployment(bot, {"stack": STACK}).assembly
    assert (assembly / "manifest.json").exists()
    assert not (assembly / "validation-report.json").exists()


async def test_the_url_streams_from_a_published_version_and_anyone_may_call_it(
    first: Deployment,
) -> None:
    assert first.alias["FunctionVersion"] == first.function.configuration["Version"] == "1"
    assert first.url["InvokeMode"] == "RESPONSE_STREAM"
    assert first.url["AuthType"] == "NONE"
    assert first.url["FunctionUrl"] == first.outputs["FunctionUrl"]
    assert first.url["FunctionArn"] == first.alias["AliasArn"]
    allowed = {
        each["Action"]: each["Condition"]
        for each in first.statements
        if each["Principal"] == "*" and each["Resource"] == first.alias["AliasArn"]
    }
    assert allowed == {
        "lambda:InvokeFunctionUrl": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        "lambda:InvokeFunction": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
    }


async def test_the_function_is_given_the_secrets_arn_and_no_key(first: Deployment) -> None:
    configuration = first.function.configuration
    assert configuration["Environment"]["Variables"] == {
        "ACCESS_KEY_SECRET_ARN": first.outputs["SecretArn"],
        "AWS_LAMBDA_EXEC_WRAPPER": "/var/task/bootstrap",
    }
    assert configuration["Timeout"] == 615
    assert configuration["LoggingConfig"]["LogGroup"] == first.outputs["LogGroup"]
    assert first.retention_days == 30


async def test_the_secret_has_a_key_of_32_letters_and_digits(first: Deployment) -> None:
    assert first.secret.keys() == {"POE_ACCESS_KEY"}
    assert len(first.key) == 32
    assert first.key.isalnum()


async def test_the_roles_policy_names_the_one_secret_and_the_one_log_group(
    first: Deployment,
) -> None:
    assert first.managed_policies == []
    assert all(each["Effect"] == "Allow" for each in first.policy)
    assert {str(each["Action"]): each["Resource"] for each in first.policy} == {
        "['logs:CreateLogStream', 'logs:PutLogEvents']": (
            f"arn:aws:logs:{REGION}:123456789012:log-group:{first.outputs['LogGroup']}:*"
        ),
        "secretsmanager:GetSecretValue": first.outputs["SecretArn"],
    }


async def test_the_role_reads_its_secret_and_is_refused_everything_else(
    world: World, first: Deployment
) -> None:
    """The local AWS enforces policies here."""
    mine = role_credentials(world, first)
    arn = first.outputs["SecretArn"]
    secrets = world.client("secretsmanager", mine)
    assert json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"]) == first.secret
    other = world.client("secretsmanager").create_secret(Name="other", SecretString="{}")["ARN"]
    refused = [
        lambda: secrets.get_secret_value(SecretId=other),
        lambda: secrets.put_secret_value(SecretId=arn, SecretString="{}"),
        lambda: secrets.list_secrets(),
        lambda: world.client("lambda", mine).list_functions(),
        lambda: world.client("s3", mine).list_buckets(),
        lambda: world.client("logs", mine).describe_log_groups(),
    ]
    for call in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            call()
    world.client("secretsmanager").delete_secret(SecretId=other, ForceDeleteWithoutRecovery=True)


async def test_without_the_grant_the_role_is_refused_the_secret_too(
    world: World, first: Deployment
) -> None:
    iam, mine = world.client("iam"), role_credentials(world, first)
    role = first.function.configuration["Role"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    grant = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=name)
    try:
        with pytest.raises(ClientError, match="AccessDenied"):
            world.client("secretsmanager", mine).get_secret_value(
                SecretId=first.outputs["SecretArn"]
            )
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(grant))


async def test_the_package_arrives_whole_with_an_executable_wrapper(
    first: Deployment, tmp_path: Path
) -> None:
    digest = base64.b64encode(hashlib.sha256(first.function.package).digest()).decode()
    assert digest == first.function.configuration["CodeSha256"]
    folder = first.function.unpack(tmp_path)
    assert os.stat(folder / "bootstrap").st_mode & 0o777 == 0o755
    assert os.stat(folder / "bot" / "bot.py").st_mode & 0o777 == 0o644
    assert [*folder.glob("bot/__pycache__/bot.*.pyc")]


async def test_what_was_deployed_streams(world: World, first: Deployment, tmp_path: Path) -> None:
    async with served(world, first, tmp_path) as url:
        turn = await ask(url, first.key)
    assert turn.text == "good morning hello and bye"
    texts = [event.seconds for event in turn.events if event.name == "text"]
    gaps = [later - earlier for earlier, later in pairwise(texts)]
    assert len(gaps) == 3
    assert min(gaps) > PACE_S / 2


@pytest.fixture(scope="module")
def unasked(world: World, first: Deployment) -> subprocess.CompletedProcess[str]:
    """An attempt that would take EXTRAS away, without a terminal to ask at."""
    return world.attempt("commands.deploy", *world.context, "--no-trial")


async def test_what_a_deployment_would_remove_is_named_and_stays_without_consent(
    first: Deployment, unasked: subprocess.CompletedProcess[str]
) -> None:
    assert "takes something away" not in first.said
    assert "  Dashboard  https://" in first.said
    assert unasked.returncode == 1
    assert unasked.stderr.endswith("run `make deploy YES=yes` to go on with this\n")
    assert "removes      AWS::CloudWatch::Dashboard  Dashboard\n" in unasked.stdout
    assert "BotErrors" in unasked.stdout


@dataclass(frozen=True)
class Second:
    """After `make set-key`, a change of the bot, and a deployment that may remove EXTRAS."""

    answer_to_new_key: str
    status_for_old_key: int
    deployment: Deployment
    alarms: tuple[int, int]  # before it and after it


@pytest.fixture(scope="module")
async def second(
    world: World,
    first: Deployment,
    unasked: subprocess.CompletedProcess[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Second:
    folder = tmp_path_factory.mktemp("second")
    before = alarms_of(world)
    async with served(world, first, folder) as url:
        assert not (await ask(url, first.key)).failed
        world.run("commands.set_secret", "set-key", "--stack", STACK, stdin=f"{NEW_KEY}\n")
        # Meanwhile the running environment gets old enough to read its secret again: 10 s.
        again = world.deploy("good evening", "--no-trial", "--yes")
        answer = await ask_until_accepted(url, NEW_KEY)
        with pytest.raises(Refused) as refused:
            await ask(url, first.key)
    return Second(answer.text, refused.value.status, again, (before, alarms_of(world)))


def alarms_of(world: World) -> int:
    return len(world.client("cloudwatch").describe_alarms()["MetricAlarms"])


async def test_with_consent_it_is_removed(second: Second) -> None:
    assert f"{STACK} is updated" in second.deployment.said
    assert second.alarms == (5, 0)


async def test_a_new_key_counts_in_an_environment_that_runs_already(second: Second) -> None:
    assert second.answer_to_new_key == "good morning hello and bye"
    assert second.status_for_old_key == 401


async def test_another_deployment_moves_the_alias_and_keeps_key_and_url(
    first: Deployment, second: Second
) -> None:
    again = second.deployment
    assert again.alias["FunctionVersion"] == "2"
    extras = {"AlarmTopic", "DashboardUrl"}
    assert again.outputs == {key: first.outputs[key] for key in first.outputs.keys() - extras}
    assert again.key == NEW_KEY


async def test_the_changed_bot_answers(world: World, second: Second, tmp_path: Path) -> None:
    async with served(world, second.deployment, tmp_path) as url:
        assert (await ask(url, NEW_KEY)).text == "good evening hello and bye"


def remember_context(world: World) -> list[str]:
    return world.context_of(stack="Remember", bot_dir=world.folder / "remember")


@pytest.fixture(scope="module")
def remember(world: World, first: Deployment) -> Deployment:
    """The example with a table of its own, deployed."""
    shutil.copytree(ROOT / "examples" / "remember", world.folder / "remember")
    said = world.run("commands.deploy", *remember_context(world), "--no-trial")
    return Deployment.seen_by(world, said, "Remember")


async def test_what_a_bot_keeps_in_a_table_outlives_its_environment(
    world: World, remember: Deployment, tmp_path: Path
) -> None:
    answers = []
    for number in range(2):
        async with served(world, remember, tmp_path / str(number)) as url:
            for user in ("u-1", "u-1", "u-2"):
                answers.append((await ask(url, remember.key, user)).text)
    counts = (1, 2, 1, 3, 4, 2)
    assert answers == [f"This is message {count} of yours." for count in counts]


async def test_the_bot_may_count_in_its_table_and_do_nothing_else_there(
    world: World, remember: Deployment
) -> None:
    table = remember.function.configuration["Environment"]["Variables"]["COUNTS_TABLE"]
    database = world.client("dynamodb", role_credentials(world, remember))
    key = {"user_id": {"S": "u-1"}}
    refused = [
        lambda: database.scan(TableName=table),
        lambda: database.get_item(TableName=table, Key=key),
        lambda: database.delete_item(TableName=table, Key=key),
        lambda: database.delete_table(TableName=table),
        lambda: database.update_item(TableName="other", Key=key),
    ]
    for call in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


async def test_destroy_keeps_the_table_with_what_users_have_left_there(
    world: World, remember: Deployment
) -> None:
    table = remember.function.configuration["Environment"]["Variables"]["COUNTS_TABLE"]
    world.run("commands.destroy", *remember_context(world), "--yes")
    assert world.client("dynamodb").scan(TableName=table)["Count"] == 2


async def test_a_deployment_that_changes_nothing_says_so(world: World, second: Second) -> None:
    said = world.run("commands.deploy", *world.context, "--no-trial")
    assert f"{STACK} is unchanged (" in said
    assert second.deployment.outputs["FunctionUrl"] in said
    assert "for a new bot" not in said
    assert "takes something away" not in said


async def test_a_bot_that_cannot_start_is_not_deployed(world: World, second: Second) -> None:
    world.bot_file.write_text("import no_such_library")
    refused = world.attempt("commands.deploy", *world.context)
    world.bot_file.write_text(bot("good evening"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: the bot doesn't start: ModuleNotFoundError: No module")
    live = Deployment.seen_by(world, "").alias["FunctionVersion"]
    assert live == second.deployment.alias["FunctionVersion"]


async def test_destroy_leaves_nothing_but_the_cdks_own(world: World, second: Second) -> None:
    said = world.run("commands.destroy", *world.context, "--yes")
    assert "CDKToolkit" in said
    assert world.client("lambda").list_functions()["Functions"] == []
    assert world.client("secretsmanager").list_secrets()["SecretList"] == []
    assert world.client("logs").describe_log_groups()["logGroups"] == []
    roles = world.client("iam").list_roles()["Roles"]
    assert [role["RoleName"] for role in roles if not role["RoleName"].startswith("cdk-")] == []
    again = world.attempt("commands.destroy", *world.context, "--yes")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert again.stderr.startswith(f"error: there is no stack {STACK} in {REGION}: ")


@asynccontextmanager
async def served(world: World, deployment: Deployment, folder: Path) -> AsyncIterator[str]:
    """The deployed zip in the local Lambda, under its role's credentials."""
    credentials = role_credentials(world, deployment)
    variables = {name.upper(): value for name, value in credentials.items()}
    endpoint = {"AWS_ENDPOINT_URL": world.aws.endpoint}
    package = deployment.function.unpack(folder)
    config = deployment.function.config(package, variables | endpoint)
    async with LocalLambda(config, on_line=lambda _: None) as function:
        await function.warm()
        yield function.url


async def ask(url: str, key: str, user_id: str | None = None) -> Turn:
    """Raises Refused."""
    async with Conversation(url, key) as conversation:
        conversation.user_id = user_id or conversation.user_id
        answer = conversation.ask("hello")
        async for _ in answer:
            pass
        return answer.turn


async def ask_until_accepted(url: str, key: str) -> Turn:
    deadline = time.monotonic() + 20
    while True:
        try:
            return await ask(url, key)
        except Refused:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)


def role_credentials(world: World, deployment: Deployment) -> dict[str, str]:
    """Of the function's role, as Lambda gives them to the function."""
    role = deployment.function.configuration["Role"]
    given = world.client("sts").assume_role(RoleArn=role, RoleSessionName="function")["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
