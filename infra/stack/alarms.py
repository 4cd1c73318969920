"""Alarms that go to an e-mail address: what a bot's owner wants to be woken for."""

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from infra.stack.cost import MOST_INSTANCES
from infra.stack.metrics import bot, milliseconds, of_lambda
from infra.stack.names import ALARM_TOPIC
from infra.stack.options import Options

FIVE_MINUTES = cdk.Duration.minutes(5)
BOT_ERRORS = 5  # in five minutes: one failed answer is a user's bad luck, five are a broken bot
NEAR_THE_TIMEOUT = 0.9  # of the function's timeout
# A minute. Each refused request costs about a millionth of a dollar, so a flood of this size is
# still cheap when the mail comes.
URL_REQUESTS = 600

# Why people are turned away, and what limits the cost.
ON_DEMAND = (
    "more conversations at once than the account or reserved_concurrency allows",
    "reserved_concurrency is the cap",
)
ON_INSTANCES = (
    f"the instances were full. Lambda adds some within minutes, up to {MOST_INSTANCES}",
    f"At most {MOST_INSTANCES} instances run",
)


@dataclass(frozen=True)
class Alarm:
    id: str
    description: str
    metric: cloudwatch.Metric
    threshold: float


def add_alarms(stack: cdk.Stack, function: lambda_.Function, options: Options) -> None:
    topic = _topic(stack, options)
    cdk.CfnOutput(stack, ALARM_TOPIC, value=topic.topic_arn)
    for alarm in _alarms(function, options):
        created = cloudwatch.Alarm(
            stack,
            alarm.id,
            alarm_description=f"{options.stack}: {alarm.description}",
            metric=alarm.metric,
            threshold=alarm.threshold,
            evaluation_periods=1,
            comparison_operator=(cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD),
            # Nobody chats: no data, and no reason to wake anybody.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        created.add_alarm_action(actions.SnsAction(topic))


def _topic(stack: cdk.Stack, options: Options) -> sns.Topic:
    topic = sns.Topic(stack, "Alarms", display_name=f"{options.stack} alarms", enforce_ssl=True)
    # enforce_ssl makes a policy that only denies, and it replaces the default one.
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="CloudWatchMayPublish",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
        )
    )
    topic.add_subscription(subscriptions.EmailSubscription(str(options.alarm_email)))
    return topic


def _alarms(function: lambda_.Function, options: Options) -> list[Alarm]:
    limit_s = NEAR_THE_TIMEOUT * options.timeout
    turned_away, cap = ON_INSTANCES if options.concurrency else ON_DEMAND
    return [
        Alarm(
            "FunctionErrors",
            "an invocation crashed, timed out or could not start. See `make logs`.",
            of_lambda(function, "Errors", "Sum", FIVE_MINUTES),
            1,
        ),
        Alarm(
            "Throttles",
            f"people were turned away: {turned_away}.",
            of_lambda(function, "Throttles", "Sum", FIVE_MINUTES),
            1,
        ),
        Alarm(
            "BotErrors",
            f"{BOT_ERRORS} answers ended with the bot's error within five minutes.",
            bot(function, "BotErrors", "Sum", FIVE_MINUTES),
            BOT_ERRORS,
        ),
        Alarm(
            "LongAnswers",
            f"one answer in a hundred takes {limit_s:.0f} s or longer; Poe cuts at 600.",
            of_lambda(function, "Duration", "p99", FIVE_MINUTES),
            milliseconds(limit_s),
        ),
        Alarm(
            "UrlRequests",
            f"{URL_REQUESTS} requests a minute, with or without the key: they cost money. {cap}.",
            of_lambda(function, "UrlRequestCount", "Sum", cdk.Duration.minutes(1)),
            URL_REQUESTS,
        ),
    ]
