"""A deployed stack: its outputs, and its function."""

import re
from dataclasses import dataclass

from botocore.exceptions import ClientError

from infra.aws.client import AwsError, client, explained
from infra.stack.names import (
    ALARM_TOPIC,
    DASHBOARD,
    DEFAULT_STACK,
    FUNCTION,
    FUNCTION_ON_INSTANCES,
    FUNCTION_URL,
    LOG_GROUP,
    SECRET_ARN,
)

# The CDK adds a hash to a construct's name.
_LOGICAL_ID = re.compile(f"(?:{FUNCTION}|{FUNCTION_ON_INSTANCES})[0-9A-F]{{8}}")


class NoStack(AwsError):
    """This region has no stack of this name."""

    def __init__(self, stack: str, region: str) -> None:
        self.where = f"there is no stack {stack} in {region}"
        super().__init__(f"{self.where}: check STACK and AWS_REGION, or run `make deploy` first")


class Unfinished(AwsError):
    """The stack is there, but its deployment didn't complete."""


@dataclass(frozen=True)
class Outputs:
    function_url: str  # https://….lambda-url.<region>.on.aws/
    secret_arn: str
    log_group: str  # its name
    dashboard: str = ""  # its address; empty without one
    alarm_topic: str = ""  # its ARN; empty without one


def outputs(stack: str = DEFAULT_STACK) -> Outputs:
    """Ask CloudFormation (AWS_ENDPOINT_URL is honoured) for the stack's outputs.

    Raises NoStack, Unfinished for a stack without outputs, and AwsError where AWS can't be reached.
    """
    with explained():
        described = _describe(stack)
    values = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", ())}
    try:
        return Outputs(
            values[FUNCTION_URL],
            values[SECRET_ARN],
            values[LOG_GROUP],
            values.get(DASHBOARD, ""),
            values.get(ALARM_TOPIC, ""),
        )
    except KeyError:
        status = described["StackStatus"]
        raise Unfinished(
            f"the stack {stack} is {status} and has no outputs: run `make deploy`"
        ) from None


def function_name(stack: str) -> str | None:
    """The bot's function, not one that its stack.py adds; None without one, or without a stack.
    Raises AwsError."""
    with explained():
        pages = client("cloudformation").get_paginator("list_stack_resources")
        try:
            for page in pages.paginate(StackName=stack):
                for each in page["StackResourceSummaries"]:
                    if _is_the_bots(each):
                        return each["PhysicalResourceId"]  # type: ignore[no-any-return]
        except ClientError as error:
            if not _says_missing(error):
                raise
    return None


def _is_the_bots(resource: dict) -> bool:  # type: ignore[type-arg]  # boto3's
    return bool(
        resource["ResourceType"] == "AWS::Lambda::Function"
        and _LOGICAL_ID.fullmatch(resource["LogicalResourceId"])
        and resource["ResourceStatus"] != "DELETE_COMPLETE"  # by a move to instances, or back
        and "PhysicalResourceId" in resource
    )


def _describe(stack: str) -> dict:  # type: ignore[type-arg]  # boto3's
    cloudformation = client("cloudformation")
    try:
        stacks = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if not _says_missing(error):
            raise
        stacks = []
    if not stacks:
        raise NoStack(stack, cloudformation.meta.region_name)
    return stacks[0]  # type: ignore[no-any-return]


def _says_missing(error: ClientError) -> bool:
    """Whether the stack is missing: CloudFormation doesn't have an error code for that."""
    refusal = error.response["Error"]
    return refusal["Code"] == "ValidationError" and "does not exist" in refusal["Message"]
