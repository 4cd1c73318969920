"""What `concurrency` makes of the stack: Managed Instances, read from the template."""

from pathlib import Path

import pytest

from infra import app
from infra.stack.options import Options
from infra.toolchain.errors import UserError
from tests.support.cdk import (
    ACCOUNT,
    REGION,
    VPC,
    Synthesized,
    cfn_lint,
    synthesize,
    vpc_with,
)

pytestmark = pytest.mark.node

WATCHED = {"alarm_email": "owner@bot.example", "dashboard": True}


@pytest.fixture(scope="module")
def plain(code: Path) -> Synthesized:
    return synthesize(code)


@pytest.fixture(scope="module")
def many(code: Path) -> Synthesized:
    return synthesize(code, nag=True, concurrency=64, **WATCHED)


@pytest.fixture(scope="module")
def in_a_given_vpc(code: Path) -> Synthesized:
    subnets = vpc_with("Public", "Private", "Private")
    return synthesize(code, nag=True, looked_up=subnets, concurrency=64, vpc=VPC, **WATCHED)


def test_the_function_serves_as_many_at_once_as_chosen_with_one_vcpu(many: Synthesized) -> None:
    function = many.only("AWS::Lambda::Function")
    assert (function["MemorySize"], function["Runtime"]) == (2048, "python3.13")
    provider = {"Fn::GetAtt": [many.id_of("AWS::Lambda::CapacityProvider"), "Arn"]}
    assert function["CapacityProviderConfig"] == {
        "LambdaManagedInstancesCapacityProviderConfig": {
            "CapacityProviderArn": provider,
            "PerExecutionEnvironmentMaxConcurrency": 64,
            "ExecutionEnvironmentMemoryGiBPerVCpu": 2,
        }
    }
    assert not function.keys() & {"VpcConfig", "ReservedConcurrentExecutions", "SnapStart"}


def test_no_second_version_has_environments_of_its_own(many: Synthesized) -> None:
    """Each keeps three instances busy: neither $LATEST.PUBLISHED nor what an update replaces."""
    assert many.only("AWS::Lambda::Function")["PublishToLatestPublished"] is False
    version = many.resource(many.id_of("AWS::Lambda::Version"))
    assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Delete", "Delete")


@pytest.mark.parametrize(
    ("arch", "memory", "instance"),
    [
        ("arm64", 2048, "c7g.large"),
        ("arm64", 8192, "r7g.large"),
        ("x86_64", 2048, "c7i.large"),
        ("x86_64", 4096, "m7i.large"),
    ],
)
def test_each_size_has_the_one_type_of_instance_whose_price_is_printed(
    code: Path, arch: str, memory: int, instance: str
) -> None:
    chosen = synthesize(code, concurrency=2, arch=arch, memory=memory)
    provider = chosen.only("AWS::Lambda::CapacityProvider")
    assert provider["InstanceRequirements"] == {
        "AllowedInstanceTypes": [instance],
        "Architectures": [arch],
    }
    assert provider["CapacityProviderScalingConfig"] == {"MaxVCpuCount": 64}
    function = chosen.only("AWS::Lambda::Function")
    config = function["CapacityProviderConfig"]["LambdaManagedInstancesCapacityProviderConfig"]
    assert config["ExecutionEnvironmentMemoryGiBPerVCpu"] == memory / 1024
    assert (function["MemorySize"], function["Architectures"]) == (memory, [arch])


def test_nothing_can_connect_to_the_instances(many: Synthesized) -> None:
    group = many.only("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert not many.all("AWS::EC2::SecurityGroupIngress")
    assert all(not each["MapPublicIpOnLaunch"] for each in many.all("AWS::EC2::Subnet"))


def test_the_instances_have_one_way_out_which_is_there_before_they_start(
    many: Synthesized,
) -> None:
    """They read the secret while CloudFormation creates the version."""
    nat = {"Ref": many.id_of("AWS::EC2::NatGateway")}
    routes = [each for each in many.all("AWS::EC2::Route") if each.get("NatGatewayId") == nat]
    tables = [each["RouteTableId"]["Ref"] for each in routes]
    subnets = [
        each["SubnetId"]["Ref"]
        for each in many.all("AWS::EC2::SubnetRouteTableAssociation")
        if each["RouteTableId"]["Ref"] in tables
    ]
    provider = many.id_of("AWS::Lambda::CapacityProvider")
    placed = many.only("AWS::Lambda::CapacityProvider")["VpcConfig"]["SubnetIds"]
    assert sorted(each["Ref"] for each in placed) == sorted(subnets)
    assert many.depends(provider) >= {"AWS::EC2::Route", "AWS::EC2::SubnetRouteTableAssociation"}
    assert len(many.resource(provider)["DependsOn"]) >= 3 * len(subnets)


def test_the_instances_are_in_the_chosen_zones(code: Path, many: Synthesized) -> None:
    """AWS refuses some, and doesn't document which."""
    zones = ["us-east-1a", "us-east-1d", "us-east-1f"]
    chosen = synthesize(code, concurrency=64, zones=",".join(zones))
    placed = [
        each["Ref"]
        for each in chosen.only("AWS::Lambda::CapacityProvider")["VpcConfig"]["SubnetIds"]
    ]
    assert [chosen.resource(each)["Properties"]["AvailabilityZone"] for each in placed] == zones
    assert chosen.only("AWS::EC2::NatGateway")
    assert len(many.only("AWS::Lambda::CapacityProvider")["VpcConfig"]["SubnetIds"]) == 2


def test_lambda_may_run_instances_by_awss_own_policy_and_the_bot_may_not(
    many: Synthesized,
) -> None:
    operator = many.only("AWS::Lambda::CapacityProvider")["PermissionsConfig"]
    [operators] = operator["CapacityProviderOperatorRoleArn"]["Fn::GetAtt"][:1]
    policies = {
        name: resource["Properties"].get("ManagedPolicyArns", [])
        for name, resource in many.resources.items()
        if resource["Type"] == "AWS::IAM::Role"
    }
    assert "AWSLambdaManagedEC2ResourceOperator" in str(policies.pop(operators))
    assert list(policies.values()) == [[]]


def test_what_the_instances_log_goes_with_the_stack(many: Synthesized) -> None:
    telemetry = many.only("AWS::Lambda::CapacityProvider")["TelemetryConfig"]
    group = many.resource(telemetry["LoggingConfig"]["LogGroup"]["Ref"])
    assert (group["Type"], group["DeletionPolicy"]) == ("AWS::Logs::LogGroup", "Delete")
    assert group["Properties"] == {"RetentionInDays": 30}


def test_moving_there_and_back_makes_another_function_and_keeps_the_secret_and_the_log(
    plain: Synthesized, many: Synthesized
) -> None:
    """Lambda refuses to put a function on instances, or to take it off. Its alias and URL point at
    the new one, so CloudFormation replaces them."""
    kept = plain.resources.keys() & many.resources.keys()
    types = {plain.resource(name)["Type"] for name in kept}
    assert types == {
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::Alias",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Url",
        "AWS::Logs::LogGroup",
        "AWS::SecretsManager::Secret",
    }
    log_groups = [each.only("AWS::Lambda::Function")["LoggingConfig"] for each in (plain, many)]
    assert log_groups[0] == log_groups[1]
    assert "FunctionName" not in many.only("AWS::Lambda::Function")


def test_the_alarms_name_the_limit_that_holds_there(plain: Synthesized, many: Synthesized) -> None:
    said = [each["AlarmDescription"] for each in many.all("AWS::CloudWatch::Alarm")]
    assert "reserved_concurrency" not in str(said)
    assert any("turned away: the instances were full" in each for each in said)
    assert any("At most 32 instances run" in each for each in said)


def test_the_dashboard_shows_how_busy_the_environments_are_instead_of_a_price_per_second(
    many: Synthesized,
) -> None:
    body = str(many.only("AWS::CloudWatch::Dashboard")["DashboardBody"])
    for name in ("Concurrency", "ConcurrencyLimit", "CPUUtilization", "MemoryUtilization"):
        assert f'"AWS/Lambda","ExecutionEnvironment{name}","CapacityProviderName"' in body
    assert "list price" not in body


def test_in_a_given_vpc_its_private_subnets_are_used_and_no_network_is_created(
    in_a_given_vpc: Synthesized,
) -> None:
    network = {each["Type"] for each in in_a_given_vpc.resources.values() if "EC2" in each["Type"]}
    assert network == {"AWS::EC2::SecurityGroup"}
    assert in_a_given_vpc.only("AWS::EC2::SecurityGroup")["VpcId"] == VPC
    placed = in_a_given_vpc.only("AWS::Lambda::CapacityProvider")["VpcConfig"]["SubnetIds"]
    assert placed == ["subnet-1", "subnet-2"]


def test_a_given_vpc_without_a_way_out_is_refused(code: Path) -> None:
    with pytest.raises(UserError, match=f"^vpc={VPC} has no private subnets with a NAT gateway"):
        synthesize(code, looked_up=vpc_with("Public"), concurrency=64, vpc=VPC)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            'Could not find any VPCs matching {"account":"…"}',
            f"VPC {VPC} doesn't exist in account {ACCOUNT}, region {REGION}: check vpc and",
        ),
        (
            "You are not authorized\nRequest id: 1",
            f"vpc={VPC} can't be looked up: You are not authorized",
        ),
    ],
)
def test_a_vpc_that_cannot_be_looked_up_is_one_line(code: Path, error: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        synthesize(code, looked_up={"$providerError": error}, concurrency=64, vpc=VPC)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_before_the_lookup_the_app_ends_well_so_that_the_command_line_can_ask(code: Path) -> None:
    assert synthesize(code, concurrency=64, vpc=VPC).only("AWS::Lambda::CapacityProvider")


VARIABLES: tuple[dict[str, str], ...] = (
    {},
    {"CDK_DEFAULT_ACCOUNT": ACCOUNT},
    {"CDK_DEFAULT_REGION": REGION},
)


@pytest.mark.parametrize("variables", VARIABLES)
def test_a_vpc_without_credentials_or_region_is_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in ("CDK_DEFAULT_ACCOUNT", "CDK_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = Options.from_context({"concurrency": 64, "vpc": VPC})
    with pytest.raises(
        UserError, match="AWS credentials or a region are missing: log in"
    ) as refused:
        app.environment_for(options)
    assert "\n" not in str(refused.value)
    assert app.environment_for(Options.from_context({"concurrency": 64})) is None


def test_a_vpc_is_looked_up_where_the_credentials_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", ACCOUNT)
    monkeypatch.setenv("CDK_DEFAULT_REGION", REGION)
    found = app.environment_for(Options.from_context({"concurrency": 64, "vpc": VPC}))
    assert found is not None
    assert (found.account, found.region) == (ACCOUNT, REGION)


def test_cdk_nag_and_cfn_lint_have_nothing_to_say(
    code: Path, many: Synthesized, in_a_given_vpc: Synthesized, tmp_path: Path
) -> None:
    bare = synthesize(code, nag=True, concurrency=2, arch="x86_64", memory=8192)
    forms = (many, in_a_given_vpc, bare)
    assert [each.findings for each in forms] == [[], [], []]
    assert cfn_lint(tmp_path, *forms) == (0, "")
