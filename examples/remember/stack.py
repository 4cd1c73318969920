"""What the bot needs on AWS in addition to its function: a table, and permission to count in it."""

from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb


def extend(stack: Any) -> None:
    table = dynamodb.Table(
        stack,
        "Counts",
        partition_key=dynamodb.Attribute(name="user_id", type=dynamodb.AttributeType.STRING),
        # Costs nothing while nobody chats: a million messages are $0.63, a GB kept $0.25 a month,
        # and $0.20 for its backups. DynamoDB encrypts every table.
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        # What users have left there outlives `make destroy`. To delete it, too: DESTROY.
        removal_policy=RemovalPolicy.RETAIN,
    )
    table.grant(stack.function, "dynamodb:UpdateItem")  # all that bot.py calls
    stack.function.add_environment("COUNTS_TABLE", table.table_name)
