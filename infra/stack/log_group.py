"""A log group that goes with the stack."""

from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct


def log_group(scope: Construct, id: str, retention_days: int) -> logs.LogGroup:
    group = logs.LogGroup(scope, id, removal_policy=cdk.RemovalPolicy.DESTROY)
    # The construct takes names (ONE_MONTH) instead of days.
    resource = cast(logs.CfnLogGroup, group.node.default_child)
    resource.retention_in_days = retention_days
    return group
