"""Managed Instances: machines of EC2's on which one process serves many conversations at once.

The network has no way in. Its way out is one NAT gateway: that a machine in a public subnet gets an
address of its own isn't documented (Lambda attaches the network interface itself), and without a
way out there are neither logs, nor the secret, nor a model to call.
"""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.stack.acknowledge import acknowledge
from infra.stack.cost import INSTANCE_VCPUS, INSTANCES, MOST_INSTANCES
from infra.stack.log_group import log_group
from infra.stack.options import Options
from infra.toolchain.errors import UserError

ARCHITECTURES = {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}
MOST_SUBNETS = 16  # a capacity provider's
OPERATOR_POLICY = "AWSLambdaManagedEC2ResourceOperator"
# In cdk-nag's words.
OPERATOR_POLICY_ARN = f"arn:<AWS::Partition>:iam::aws:policy/{OPERATOR_POLICY}"

# The CDK's remark that a function stays on its instances: without `concurrency` it is another one.
NOT_REMOVABLE = "aws-lambda:Function.CapacityProviderConfiguration"

NO_FLOW_LOGS = "Nothing can connect to this network, and one process uses it; flow logs cost money."
AWS_KNOWS = "AWS's policy for this very role: it follows what Lambda needs to run the instances."


class Instances(Construct):
    """Raises UserError for a given VPC without subnets that have a way out."""

    def __init__(self, scope: Construct, id: str, options: Options) -> None:
        super().__init__(scope, id)
        vpc = self._given_vpc(options.vpc) if options.vpc else self._own_vpc(options.zones)
        self.provider = lambda_.CapacityProvider(
            self,
            "Provider",
            subnets=vpc.private_subnets[:MOST_SUBNETS],
            security_groups=[self._security_group(vpc)],
            architectures=[ARCHITECTURES[options.arch]],
            # Left to itself, Lambda takes larger ones, and three of them always run.
            instance_type_filter=lambda_.InstanceTypeFilter.allow([_instance_type(options)]),
            max_v_cpu_count=MOST_INSTANCES * INSTANCE_VCPUS,
            operator_role=self._operator_role(),
            log_group=log_group(self, "Logs", options.log_retention_days),
        )
        # A version is published when its environments have started, for which they read the secret.
        self.provider.node.add_dependency(*vpc.private_subnets)

    def serve(self, function: lambda_.Function, options: Options) -> None:
        """Put `function`, which must not be deployed as a plain one yet, on these instances."""
        self.provider.add_function(
            function,
            per_execution_environment_max_concurrency=options.concurrency,
            execution_environment_memory_gib_per_v_cpu=options.memory // 1024,  # one vCPU
            # The alias has a numbered version; this one would have as many environments again.
            publish_to_latest_published=False,
        )
        cdk.Annotations.of(function).acknowledge_info(NOT_REMOVABLE)

    def _own_vpc(self, zones: str | None) -> ec2.IVpc:
        public, private = ec2.SubnetType.PUBLIC, ec2.SubnetType.PRIVATE_WITH_EGRESS
        vpc = ec2.Vpc(
            self,
            "Vpc",
            nat_gateways=1,
            availability_zones=zones.split(",") if zones else None,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Nat", subnet_type=public, cidr_mask=28, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name="Bot", subnet_type=private, cidr_mask=24),
            ],
        )
        acknowledge(vpc, "AwsSolutions-VPC7", NO_FLOW_LOGS)
        return vpc

    def _given_vpc(self, id: str) -> ec2.IVpc:
        """Its subnets come from the CDK's command line, which asks AWS."""
        vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=id)
        if problem := self._failed_lookup(id):
            raise UserError(problem)
        if not vpc.private_subnets:
            raise UserError(
                f"vpc={id} has no private subnets with a NAT gateway, which the instances need to"
                " reach the internet: use another VPC, or leave vpc out for one of the stack's own"
            )
        return vpc

    def _failed_lookup(self, id: str) -> str:
        """Why AWS doesn't know the VPC, if the command line has asked in vain."""
        context = self.node.root.node.get_all_context()
        asked = (context[name] for name in context if f"vpc-id={id}:" in name)
        for error in (each["$providerError"] for each in asked if "$providerError" in each):
            if "Could not find" not in error:
                return f"vpc={id} can't be looked up: {error.splitlines()[0]}"
            where = cdk.Stack.of(self)
            return (
                f"VPC {id} doesn't exist in account {where.account}, region {where.region}:"
                " check vpc and AWS_REGION"
            )
        return ""

    def _security_group(self, vpc: ec2.IVpc) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, description="Nothing connects to the instances"
        )

    def _operator_role(self) -> iam.Role:
        role = iam.Role(
            self,
            "OperatorRole",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(OPERATOR_POLICY)],
        )
        acknowledge(role, f"AwsSolutions-IAM4[Policy::{OPERATOR_POLICY_ARN}]", AWS_KNOWS)
        return role


def _instance_type(options: Options) -> ec2.InstanceType:
    return ec2.InstanceType(INSTANCES[options.arch, options.memory].type)
