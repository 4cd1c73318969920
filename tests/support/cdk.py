"""The stack's template, synthesised in this process with the Node that `make deploy` finds."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.app import extend
from infra.package.bot_folder import BotFolder
from infra.stack.options import Options
from infra.toolchain import node

os.environ["JSII_NODE"] = str(node.required().folder / "node")  # read when the CDK starts


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
    package: Path, *, nag: bool = False, bot: BotFolder | None = None, **context: Any
) -> Synthesized:
    """`bot`: whose stack.py adds to the stack."""
    # Here: it starts Node, and only one of pytest's workers needs it.
    import aws_cdk as cdk
    import cdk_nag

    from infra.stack.bot_stack import BotStack

    with tempfile.TemporaryDirectory() as folder:
        app = cdk.App(
            analytics_reporting=False, outdir=folder, builtin_cloud_formation_validation=False
        )
        if nag:
            cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
        stack = BotStack(app, Options.from_context(context), package)
        if bot:
            extend(stack, bot)
        try:
            app.synth()
        except RuntimeError as error:
            if "ValidationFailed" not in str(error):
                raise
        template = json.loads(Path(folder, stack.template_file).read_text())
        return Synthesized(stack.stack_name, template, _findings(Path(folder)))


def _findings(folder: Path) -> list[str]:
    report = folder / "validation-report.json"
    if not report.exists():
        return []
    reports = json.loads(report.read_text())["pluginReports"]
    return [found["ruleName"] for each in reports for found in each["violations"]]
