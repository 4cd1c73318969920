"""What the stack promises, read from its template."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.toolchain.folders import ROOT
from infra.toolchain.pythons import this_version
from tests.support.bot_folder import write_folder
from tests.support.cdk import Synthesized, cfn_lint, synthesize

pytestmark = pytest.mark.node

EVERYTHING = {
    "alarm_email": "owner@bot.example",
    "dashboard": True,
    "reserved_concurrency": 5,
    "snapstart": True,
}


@pytest.fixture(scope="module")
def plain(code: Path) -> Synthesized:
    return synthesize(code, nag=True)


@pytest.fixture(scope="module")
def full(code: Path) -> Synthesized:
    return synthesize(code, nag=True, **EVERYTHING)


@pytest.fixture(scope="module")
def many(code: Path) -> Synthesized:
    return synthesize(code, nag=True, concurrency=64)


@pytest.fixture(params=["plain", "many"])
def either(request: pytest.FixtureRequest) -> Synthesized:
    """Each form of the stack: a plain function, and one on Managed Instances."""
    found: Synthesized = request.getfixturevalue(request.param)
    return found


Stacks = Callable[..., Synthesized]


@pytest.fixture
def stack(code: Path) -> Stacks:
    return lambda **context: synthesize(code, **context)


def test_the_function_is_what_the_readme_says(plain: Synthesized) -> None:
    function = plain.only("AWS::Lambda::Function")
    expected = {
        "Runtime": "python3.13",
        "Architectures": ["arm64"],
        "MemorySize": 512,
        "Timeout": 615,
        "Handler": "handler.function.handler",
    }
    assert function | expected == function
    logging = function["LoggingConfig"]
    assert (logging["LogFormat"], logging["ApplicationLogLevel"]) == ("JSON", "INFO")
    assert logging["SystemLogLevel"] == "WARN"
    assert logging["LogGroup"] == {"Ref": plain.id_of("AWS::Logs::LogGroup")}


def test_the_function_is_given_two_variables_and_no_key(either: Synthesized) -> None:
    secret = either.id_of("AWS::SecretsManager::Secret")
    assert either.only("AWS::Lambda::Function")["Environment"]["Variables"] == {
        "ACCESS_KEY_SECRET_ARN": {"Ref": secret},
        "AWS_LAMBDA_EXEC_WRAPPER": "/var/task/bootstrap",
    }


def test_the_access_key_stands_nowhere_but_in_the_secrets_recipe(full: Synthesized) -> None:
    secret = full.id_of("AWS::SecretsManager::Secret")
    others = {key: each for key, each in full.resources.items() if key != secret}
    assert "POE_ACCESS_KEY" not in str(others)


def test_nothing_of_the_secret_may_ever_change(either: Synthesized) -> None:
    """CloudFormation answers any change with a new value, over the key that a user has set."""
    assert either.resource("SecretA720EF05") == {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {
            "Description": "The Poe bot's access key, and its other secrets",
            "GenerateSecretString": {
                "SecretStringTemplate": "{}",
                "GenerateStringKey": "POE_ACCESS_KEY",
                "PasswordLength": 32,
                "ExcludePunctuation": True,
            },
        },
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Delete",
    }


def test_the_url_is_public_streams_and_points_at_the_alias(either: Synthesized) -> None:
    assert either.only("AWS::Lambda::Alias")["Name"] == "live"
    url = either.only("AWS::Lambda::Url")
    assert (url["AuthType"], url["InvokeMode"], url["Qualifier"]) == (
        "NONE",
        "RESPONSE_STREAM",
        "live",
    )
    alias = {"Ref": either.id_of("AWS::Lambda::Alias")}
    permissions = either.all("AWS::Lambda::Permission")
    assert all(each["FunctionName"] == alias for each in permissions)
    assert all(each["Principal"] == "*" for each in permissions)
    conditions = {
        each["Action"]: (each.get("FunctionUrlAuthType"), each.get("InvokedViaFunctionUrl"))
        for each in permissions
    }
    assert conditions == {
        "lambda:InvokeFunctionUrl": ("NONE", None),
        "lambda:InvokeFunction": (None, True),
    }


def test_a_version_outlives_its_replacement_since_streams_may_still_run_on_it(
    plain: Synthesized,
) -> None:
    version = plain.resource(plain.id_of("AWS::Lambda::Version"))
    assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Retain", "Retain")
    published = plain.only("AWS::Lambda::Alias")["FunctionVersion"]["Fn::GetAtt"][0]
    assert published == plain.id_of("AWS::Lambda::Version")


def test_the_role_may_read_the_one_secret_and_write_to_the_one_log_group(
    plain: Synthesized,
) -> None:
    assert "ManagedPolicyArns" not in plain.only("AWS::IAM::Role")
    by_action = {}
    for statement in plain.statements():
        assert statement["Effect"] == "Allow"
        for action in actions(statement):
            by_action[action] = statement["Resource"]
    log_group = {"Fn::GetAtt": [plain.id_of("AWS::Logs::LogGroup"), "Arn"]}
    assert by_action == {
        "logs:CreateLogStream": log_group,
        "logs:PutLogEvents": log_group,
        "secretsmanager:GetSecretValue": {"Ref": plain.id_of("AWS::SecretsManager::Secret")},
    }


def test_no_statement_has_a_wildcard_for_a_resource(full: Synthesized, many: Synthesized) -> None:
    statements = [*full.statements(), *many.statements()]
    assert not [each for each in statements if "*" in str(each["Resource"])]


def test_the_log_group_has_the_chosen_retention_and_goes_with_the_stack(stack: Stacks) -> None:
    made = stack(log_retention_days=7)
    group = made.resource(made.id_of("AWS::Logs::LogGroup"))
    assert group["Properties"] == {"RetentionInDays": 7}
    assert group["DeletionPolicy"] == "Delete"


def test_the_plain_stack_has_nothing_else_that_costs_money(plain: Synthesized) -> None:
    assert {each["Type"] for each in plain.resources.values()} == {
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::Alias",
        "AWS::Lambda::Function",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Url",
        "AWS::Lambda::Version",
        "AWS::Logs::LogGroup",
        "AWS::SecretsManager::Secret",
    }
    function = plain.only("AWS::Lambda::Function")
    assert not function.keys() & {"ReservedConcurrentExecutions", "TracingConfig", "VpcConfig"}


def test_without_streaming_wrapper_and_mode_go_together(stack: Stacks) -> None:
    made = stack(streaming=False)
    variables = made.only("AWS::Lambda::Function")["Environment"]["Variables"]
    assert variables.keys() == {"ACCESS_KEY_SECRET_ARN"}
    assert made.only("AWS::Lambda::Url")["InvokeMode"] == "BUFFERED"


def test_every_choice_about_the_function_reaches_it(stack: Stacks) -> None:
    made = stack(
        stack="Other",
        memory=1769,
        timeout=60,
        arch="x86_64",
        python="3.12",
        reserved_concurrency=3,
    )
    function = made.only("AWS::Lambda::Function")
    expected = {
        "MemorySize": 1769,
        "Timeout": 60,
        "Architectures": ["x86_64"],
        "Runtime": "python3.12",
        "ReservedConcurrentExecutions": 3,
    }
    assert function | expected == function
    assert made.name == "Other"


@pytest.mark.parametrize("arch", ["arm64", "x86_64"])
@pytest.mark.parametrize("python", ["3.12", "3.14"])
def test_snapstart_is_of_the_version_behind_the_alias(
    stack: Stacks, arch: str, python: str
) -> None:
    started = stack(snapstart=True, arch=arch, python=python)
    function = started.only("AWS::Lambda::Function")
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    version = {"Fn::GetAtt": [started.id_of("AWS::Lambda::Version"), "Version"]}
    assert started.only("AWS::Lambda::Alias")["FunctionVersion"] == version


def test_the_start_before_the_snapshot_may_read_the_secret(full: Synthesized) -> None:
    """It takes place while the stack is created."""
    function = full.resource(full.id_of("AWS::Lambda::Function"))
    assert full.id_of("AWS::IAM::Policy") in function["DependsOn"]


def test_without_the_choice_there_is_no_snapshot(plain: Synthesized) -> None:
    assert "SnapStart" not in plain.only("AWS::Lambda::Function")


def test_outputs_have_the_names_that_the_commands_read(plain: Synthesized) -> None:
    assert plain.template["Outputs"] == {
        "FunctionUrl": {"Value": {"Fn::GetAtt": [plain.id_of("AWS::Lambda::Url"), "FunctionUrl"]}},
        "SecretArn": {"Value": {"Ref": plain.id_of("AWS::SecretsManager::Secret")}},
        "LogGroup": {"Value": {"Ref": plain.id_of("AWS::Logs::LogGroup")}},
    }


def test_each_alarm_rings_after_one_period_in_which_its_metric_reaches_its_threshold(
    full: Synthesized,
) -> None:
    alarms = full.all("AWS::CloudWatch::Alarm")
    function = [{"Name": "FunctionName", "Value": {"Ref": full.id_of("AWS::Lambda::Function")}}]
    for alarm in alarms:
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert alarm["EvaluationPeriods"] == 1
        assert alarm.get("DatapointsToAlarm", 1) == 1
        assert alarm["Dimensions"] == function
    assert sorted(
        (
            alarm["Namespace"],
            alarm["MetricName"],
            alarm.get("Statistic", alarm.get("ExtendedStatistic")),
            alarm["Period"],
            alarm["Threshold"],
        )
        for alarm in alarms
    ) == [
        ("AWS/Lambda", "Duration", "p99", 300, 553_500),  # ms, of the timeout's 615 s
        ("AWS/Lambda", "Errors", "Sum", 300, 1),
        ("AWS/Lambda", "Throttles", "Sum", 300, 1),
        ("AWS/Lambda", "UrlRequestCount", "Sum", 60, 600),
        ("PoeBot", "BotErrors", "Sum", 300, 5),
    ]


def test_alarms_reach_the_address_and_cloudwatch_may_publish(full: Synthesized) -> None:
    topic = {"Ref": full.id_of("AWS::SNS::Topic")}
    subscription = full.only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "owner@bot.example")
    alarms = full.all("AWS::CloudWatch::Alarm")
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms)
    assert all(alarm["TreatMissingData"] == "notBreaching" for alarm in alarms)
    publish = [
        each
        for each in full.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
        if each["Effect"] == "Allow"
    ]
    assert [(each["Action"], each["Principal"], each["Resource"]) for each in publish] == [
        ("sns:Publish", {"Service": "cloudwatch.amazonaws.com"}, topic)
    ]
    assert "aws:SourceAccount" in publish[0]["Condition"]["StringEquals"]


def test_the_dashboard_shows_every_metric_that_the_handler_writes(full: Synthesized) -> None:
    from handler.log.metrics import NAMESPACE, UNITS

    body = str(full.only("AWS::CloudWatch::Dashboard")["DashboardBody"])
    for name in UNITS:
        assert f'"{NAMESPACE}","{name}","FunctionName"' in body
    for name in ("Errors", "Throttles", "UrlRequestCount", "Url5xxCount", "Duration"):
        assert f'"AWS/Lambda","{name}"' in body


def test_cdk_nag_finds_nothing_that_is_not_acknowledged(
    plain: Synthesized, full: Synthesized
) -> None:
    assert (plain.findings, full.findings) == ([], [])


def test_the_table_of_the_example_keeps_the_rules_too_and_the_bot_may_only_count(
    code: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "remember"
    shutil.copytree(ROOT / "examples" / "remember", folder)
    found = synthesize(code, nag=True, bot=BotFolder.at(str(folder)))
    assert found.findings == []
    table = found.id_of("AWS::DynamoDB::Table")
    assert found.resource(table)["DeletionPolicy"] == "Retain"
    assert found.only("AWS::DynamoDB::Table")["BillingMode"] == "PAY_PER_REQUEST"
    variables = found.only("AWS::Lambda::Function")["Environment"]["Variables"]
    assert variables["COUNTS_TABLE"] == {"Ref": table}
    granted = [each for each in found.statements() if "dynamodb" in str(each["Action"])]
    assert granted == [
        {
            "Action": "dynamodb:UpdateItem",
            "Effect": "Allow",
            "Resource": [{"Fn::GetAtt": [table, "Arn"]}],
        }
    ]


def test_cdk_nag_would_be_heard(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bot_stack", "instances"):
        monkeypatch.setattr(f"infra.stack.{module}.acknowledge", lambda *_: None)
    findings = " ".join(synthesize(code, nag=True, concurrency=64).findings)
    assert re.findall(r"AwsSolutions-(\w+)", findings) == ["SMG4", "L1", "VPC7", "IAM4"]


def test_cfn_lint_has_nothing_to_say(full: Synthesized, tmp_path: Path) -> None:
    assert cfn_lint(tmp_path, full) == (0, "")


def test_the_same_sources_give_the_same_asset_for_arm64(tmp_path: Path) -> None:
    target = Target(this_version(), "arm64")
    bot = BotFolder.at(str(write_folder(tmp_path / "bot", {"bot.py": "bot = None\n"})))
    keys = [
        synthesize(build(bot, target, tmp_path / name)).only("AWS::Lambda::Function")["Code"][
            "S3Key"
        ]
        for name in ("one", "two")
    ]
    assert keys[0] == keys[1]
    (tmp_path / "one" / "bot" / "bot.py").write_text("bot = 1\n")
    changed = synthesize(tmp_path / "one").only("AWS::Lambda::Function")["Code"]["S3Key"]
    assert changed != keys[0]


def actions(statement: dict[str, Any]) -> set[str]:
    action = statement["Action"]
    return {action} if isinstance(action, str) else set(action)
