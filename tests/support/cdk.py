"""The stack's template, synthesised in this process with the Node that `make deploy` finds."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.app import extend
from infra.package.bot_folder import BotFolder
from infra.stack.options import Options
from infra.toolchain import node

os.environ["JSII_NODE"] = str(node.required().folder / "node")  # read when the CDK starts

ACCOUNT, REGION = "123456789012", "us-east-1"
VPC = "vpc-0a1b2c3d4e5f67890"


@dataclass(frozen=True)
class Synthesized:
    name: str
    template: dict[str, Any]
    findings: list[str]  # cdk-nag's rules

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        return self.template["Resources"]

    def resource(self, logical_id: str) -> dict[str, Any]:
        return self.resources[logical_id]

    def id_of(self, kind: str) -> str:
        """The logical id of the only resource of this type."""
        (logical_id,) = (key for key, each in self.resources.items() if each["Type"] == kind)
        return logical_id

    def only(self, kind: str) -> dict[str, Any]:
        """The properties of the only resource of this type."""
        return self.resources[self.id_of(kind)]["Properties"]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [each["Properties"] for each in self.resources.values() if each["Type"] == kind]

    def depends(self, logical_id: str) -> set[str]:
        """The types of resources that have to be there before this one."""
        needed = self.resource(logical_id).get("DependsOn", [])
        needed = [needed] if isinstance(needed, str) else needed
        return {self.resource(each)["Type"] for each in needed}

    def statements(self) -> list[dict[str, Any]]:
        """Of the role's policies."""
        return [
            statement
            for policy in self.all("AWS::IAM::Policy")
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def save(self, path: Path) -> Path:
        path.write_text(json.dumps(self.template))
        return path


def synthesize(
    package: Path,
    *,
    nag: bool = False,
    bot: BotFolder | None = None,
    looked_up: Any = None,
    **context: Any,
) -> Synthesized:
    """`bot`: whose stack.py adds to the stack. `looked_up`: what the CDK's command line has found
    out about VPC, or None before it has asked."""
    # Here: it starts Node, and only one of pytest's workers needs it.
    import aws_cdk as cdk
    import cdk_nag

    from infra.stack.bot_stack import BotStack

    with tempfile.TemporaryDirectory() as folder:
        app = cdk.App(
            analytics_reporting=False,
            outdir=folder,
            builtin_cloud_formation_validation=False,
            context={LOOKUP: looked_up} if looked_up else {},
        )
        if nag:
            cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
        options = Options.from_context(context)
        env = cdk.Environment(account=ACCOUNT, region=REGION) if options.vpc else None
        stack = BotStack(app, options, package, env)
        if bot:
            extend(stack, bot)
        try:
            app.synth()
        except RuntimeError as error:
            if "ValidationFailed" not in str(error):
                raise
        template = json.loads(Path(folder, stack.template_file).read_text())
        return Synthesized(stack.stack_name, template, _findings(Path(folder)))


def cfn_lint(folder: Path, *stacks: Synthesized) -> tuple[int, str]:
    """Its exit status and what it prints about all of them; its start is what takes long."""
    templates = [each.save(folder / f"{n}.json") for n, each in enumerate(stacks)]
    command = [
        Path(sys.executable).with_name("cfn-lint"),
        # The CDK itself writes dependencies twice, such as the function's on its role.
        *("--ignore-checks", "W3005", "--"),
        *templates,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


# The key under which the pinned command line keeps it.
LOOKUP = (
    f"vpc-provider:account={ACCOUNT}:filter.vpc-id={VPC}:region={REGION}"
    ":returnAsymmetricSubnets=true"
)


def vpc_with(*kinds: str) -> dict[str, Any]:
    """What a look-up finds: a subnet `subnet-0`, `subnet-1`, … of each of these kinds."""
    subnets = [
        {
            "subnetId": f"subnet-{n}",
            "cidr": f"10.1.{n}.0/24",
            "availabilityZone": f"{REGION}a",
            "routeTableId": f"rtb-{n}",
            "kind": kind,
        }
        for n, kind in enumerate(kinds)
    ]
    groups = [
        {"name": kind, "type": kind, "subnets": [each for each in subnets if each["kind"] == kind]}
        for kind in sorted({*kinds})
    ]
    return {
        "vpcId": VPC,
        "vpcCidrBlock": "10.1.0.0/16",
        "ownerAccountId": ACCOUNT,
        "availabilityZones": [],
        "subnetGroups": groups,
    }


def _findings(folder: Path) -> list[str]:
    report = folder / "validation-report.json"
    if not report.exists():
        return []
    reports = json.loads(report.read_text())["pluginReports"]
    return [found["ruleName"] for each in reports for found in each["violations"]]
