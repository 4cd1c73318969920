"""The stack: one function that streams behind a public URL, and one secret that it may read."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.stack.acknowledge import acknowledge
from infra.stack.alarms import add_alarms
from infra.stack.dashboard import add_dashboard
from infra.stack.instances import ARCHITECTURES, Instances
from infra.stack.log_group import log_group
from infra.stack.names import (
    ALIAS,
    FUNCTION,
    FUNCTION_ON_INSTANCES,
    FUNCTION_URL,
    INSTANCES,
    LOG_GROUP,
    SECRET_ARN,
)
from infra.stack.options import Options

HANDLER = "handler.function.handler"
WRAPPER = "/var/task/bootstrap"

ROTATED_BY_HAND = (
    "Poe makes the key: a rotation here would lock Poe out. `make set-key` is the rotation."
)
PYTHON_CHOSEN = "The Python version is the user's choice; the package is built for it."


class BotStack(cdk.Stack):
    """`options` are checked, `package` is a built folder. `env`, an account and a region, is needed
    with `options.vpc` alone. Raises UserError for a VPC that has no place for instances."""

    def __init__(
        self,
        scope: Construct,
        options: Options,
        package: Path,
        env: cdk.Environment | None = None,
    ) -> None:
        super().__init__(scope, options.stack, description="A Poe server bot that streams", env=env)
        self.options = options
        self.secret = self._secret()
        self.log_group = log_group(self, "Logs", options.log_retention_days)
        self.function = self._function(package)
        self.instances = self._instances()
        self.url = self._url()
        if options.alarm_email:
            add_alarms(self, self.function, options)
        if options.dashboard:
            provider = self.instances.provider if self.instances else None
            add_dashboard(self, self.function, self.log_group, options, provider)
        cdk.CfnOutput(self, FUNCTION_URL, value=self.url.url)
        cdk.CfnOutput(self, SECRET_ARN, value=self.secret.secret_arn)
        cdk.CfnOutput(self, LOG_GROUP, value=self.log_group.log_group_name)

    def _secret(self) -> secretsmanager.Secret:
        """Nothing here may ever change: CloudFormation would put a new key over the user's."""
        secret = secretsmanager.Secret(
            self,
            "Secret",
            description="The Poe bot's access key, and its other secrets",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template="{}",
                generate_string_key="POE_ACCESS_KEY",
                password_length=32,
                exclude_punctuation=True,
            ),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        acknowledge(secret, "AwsSolutions-SMG4", ROTATED_BY_HAND)
        return secret

    def _function(self, package: Path) -> lambda_.Function:
        options = self.options
        function = lambda_.Function(
            self,
            FUNCTION_ON_INSTANCES if options.concurrency else FUNCTION,
            code=lambda_.Code.from_asset(str(package)),
            runtime=lambda_.Runtime(
                f"python{options.python}",
                lambda_.RuntimeFamily.PYTHON,
                supports_snap_start=options.snapstart,
            ),
            snap_start=(lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if options.snapstart else None),
            handler=HANDLER,
            architecture=ARCHITECTURES[options.arch],
            memory_size=options.memory,
            timeout=cdk.Duration.seconds(options.timeout),
            reserved_concurrent_executions=options.reserved_concurrency,
            role=self._role(),
            environment=self._environment(),
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            current_version_options=lambda_.VersionOptions(removal_policy=self._older_versions()),
        )
        acknowledge(function, "AwsSolutions-L1", PYTHON_CHOSEN)
        return function

    def _older_versions(self) -> cdk.RemovalPolicy:
        """Streams of ten minutes may still run on the version that an update replaces. But on
        instances each version has environments of its own, which cost as much as the new one's."""
        retain, destroy = cdk.RemovalPolicy.RETAIN, cdk.RemovalPolicy.DESTROY
        return destroy if self.options.concurrency else retain

    def _instances(self) -> Instances | None:
        if not self.options.concurrency:
            return None
        instances = Instances(self, INSTANCES, self.options)
        instances.serve(self.function, self.options)
        return instances

    def _role(self) -> iam.Role:
        """May write to the one log group and read the one secret, and nothing else."""
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.log_group.grant_write(role)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["secretsmanager:GetSecretValue"], resources=[self.secret.secret_arn]
            )
        )
        return role

    def _environment(self) -> dict[str, str]:
        environment = {"ACCESS_KEY_SECRET_ARN": self.secret.secret_arn}
        if self.options.streaming:
            environment["AWS_LAMBDA_EXEC_WRAPPER"] = WRAPPER
        return environment

    def _url(self) -> lambda_.FunctionUrl:
        """Public, since Poe signs no requests: the handler refuses callers without the access key.

        A RESPONSE_STREAM URL shows a buffered handler's raw proxy JSON: both go together.
        """
        alias = lambda_.Alias(self, "Live", alias_name=ALIAS, version=self.function.current_version)
        streams, buffers = lambda_.InvokeMode.RESPONSE_STREAM, lambda_.InvokeMode.BUFFERED
        return alias.add_function_url(
            auth_type=lambda_.FunctionUrlAuthType.NONE,
            invoke_mode=streams if self.options.streaming else buffers,
        )
