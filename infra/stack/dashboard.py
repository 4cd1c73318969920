"""The dashboard: are people served, how fast is the first token, what fails, what does it cost?"""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra.stack.cost import GB_SECOND, MILLION_REQUESTS
from infra.stack.metrics import bot, of_environments, of_lambda
from infra.stack.names import DASHBOARD
from infra.stack.options import Options

PERIOD = cdk.Duration.minutes(5)
HALF, WHOLE = 12, 24  # of the dashboard's columns

FAILURES = """\
fields @timestamp, level, type, outcome, message
| filter outcome != "done" and outcome != "refused" or level in ["ERROR", "FATAL"]
| sort @timestamp desc
| limit 50"""


def add_dashboard(
    stack: cdk.Stack,
    function: lambda_.Function,
    log_group: logs.LogGroup,
    options: Options,
    provider: lambda_.CapacityProvider | None = None,
) -> None:
    """`provider`: of the Managed Instances on which the function runs, if it does."""
    dashboard = cloudwatch.Dashboard(stack, "Dashboard", default_interval=cdk.Duration.days(1))
    dashboard.add_widgets(_served(function), _first_token(function))
    last = _load(function, provider) if provider else _cost(function, options)
    dashboard.add_widgets(_failures(function), last)
    dashboard.add_widgets(_failed_lines(log_group))
    console = f"https://{stack.region}.console.aws.amazon.com/cloudwatch/home?region={stack.region}"
    address = f"{console}#dashboards/dashboard/{dashboard.dashboard_name}"
    cdk.CfnOutput(stack, DASHBOARD, value=address)


def _graph(
    title: str, left: list[cloudwatch.IMetric], right: list[cloudwatch.IMetric] | None = None
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=left, right=right or [], width=HALF)


def _served(function: lambda_.Function) -> cloudwatch.IWidget:
    return _graph(
        "Are people served?",
        [
            bot(function, "Answers", "Sum", PERIOD),
            of_lambda(function, "UrlRequestCount", "Sum", PERIOD),
            bot(function, "Refused", "Sum", PERIOD),
        ],
        [of_lambda(function, "ConcurrentExecutions", "Maximum", PERIOD)],
    )


def _first_token(function: lambda_.Function) -> cloudwatch.IWidget:
    return _graph(
        "How fast is the first token? (ms; Poe waits 5,000)",
        [
            bot(function, "FirstEventTime", statistic, PERIOD)
            for statistic in ("p50", "p90", "p99", "Maximum")
        ],
    )


def _failures(function: lambda_.Function) -> cloudwatch.IWidget:
    return _graph(
        "What fails?",
        [
            *(of_lambda(function, name, "Sum", PERIOD) for name in ("Errors", "Throttles")),
            *(
                bot(function, name, "Sum", PERIOD)
                for name in ("BotErrors", "DeadlineEndings", "SecretReadFailures")
            ),
        ],
        [of_lambda(function, "Url5xxCount", "Sum", PERIOD)],
    )


def _cost(function: lambda_.Function, options: Options) -> cloudwatch.IWidget:
    """Lambda's own part: not logs, not traffic, not the free tier."""
    hour = cdk.Duration.hours(1)
    per_millisecond = options.memory / 1024 / 1000 * GB_SECOND[options.arch]
    request = MILLION_REQUESTS / 1e6
    dollars = cloudwatch.MathExpression(
        expression=f"duration * {per_millisecond:.12f} + invocations * {request:.7f}",
        using_metrics={
            "duration": of_lambda(function, "Duration", "Sum", hour),
            "invocations": of_lambda(function, "Invocations", "Sum", hour),
        },
        label="Lambda, $ an hour (list price)",
        period=hour,
    )
    return _graph(
        "What does it cost?", [dollars], [of_lambda(function, "Duration", "Average", hour)]
    )


def _load(function: lambda_.Function, provider: lambda_.CapacityProvider) -> cloudwatch.IWidget:
    """In place of the cost: instances cost the same however long the answers take."""
    return _graph(
        "How busy are the environments? (conversations in each; %)",
        [
            of_environments(provider, function, name, "Maximum", PERIOD)
            for name in ("Concurrency", "ConcurrencyLimit")
        ],
        [
            of_environments(provider, function, name, "Maximum", PERIOD)
            for name in ("CPUUtilization", "MemoryUtilization")
        ],
    )


def _failed_lines(log_group: logs.LogGroup) -> cloudwatch.IWidget:
    return cloudwatch.LogQueryWidget(
        title="The last failures",
        log_group_names=[log_group.log_group_name],
        query_string=FAILURES,
        width=WHOLE,
        height=8,
    )
