"""What a deployment would remove or replace, read from what `cdk diff` prints.

The CDK knows which changes of which properties make CloudFormation replace a resource. Format: that
of the pinned release, which a test runs.

    [-] AWS::CloudWatch::Alarm BotErrors BotErrors19CE613A destroy
    [~] AWS::DynamoDB::Table Counts Counts7F28E4F7 replace
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LINE = re.compile(
    r"\[[-~]\] (?P<type>\w+(?:::\w+)+) (?P<name>.+) \w+ "
    r"(?P<impact>destroy|orphan|replace|may be replaced)"
)
# Versions come and go with each deployment, an alias follows its function, and the others only say
# who may do what.
_UNMISSED = {
    "AWS::CDK::Metadata",
    "AWS::IAM::Policy",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}


@dataclass(frozen=True)
class Loss:
    """A resource that a deployment would take away. `impact` is the CDK's word: destroy, orphan (it
    stays in the account, outside of the stack), replace, may be replaced."""

    type: str  # CloudFormation's
    name: str  # the construct's path
    impact: str


def losses(lines: Iterable[str]) -> list[Loss]:
    """In the order of `lines`, which `cdk diff` printed."""
    found = filter(None, map(_LINE.fullmatch, lines))
    all_ = [Loss(match["type"], match["name"], match["impact"]) for match in found]
    return [loss for loss in all_ if loss.type not in _UNMISSED]
