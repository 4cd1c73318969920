"""The dashboard: are people served, how fast is the first token, what fails, what does it cost?"""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra.stack.metrics import bot, of_lambda
from infra.stack.names import DASHBOARD
from infra.stack.options import Options

PERIOD = cdk.Duration.minutes(5)
HALF, WHOLE = 12, 24  # of the dashboard's columns

# List prices in us-east-1, in dollars: per GB-second by architecture, and per request.
GB_SECOND = {"arm64": 0.0000133334, "x86_64": 0.0000166667}
REQUEST = 0.0000002

FAILURES = """\
fields @timestamp, level, type, outcome, message
| filter outcome != "done" and outcome != "refused" or level in ["ERROR", "FATAL"]
| sort @timestamp desc
| limit 50"""


def add_dashboard(
    stack: cdk.Stack, function: lambda_.Function, log_group: logs.LogGroup, options: Options
) -> None:
    dashboard = cloudwatch.Dashboard(stack, "Dashboard", default_interval=cdk.Duration.days(1))
    dashboard.add_widgets(_served(function), _first_token(function))
    dashboard.add_widgets(_failures(function), _cost(function, options))
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
    dollars = cloudwatch.MathExpression(
        expression=f"duration * {per_millisecond:.12f} + invocations * {REQUEST:.7f}",
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


def _failed_lines(log_group: logs.LogGroup) -> cloudwatch.IWidget:
    return cloudwatch.LogQueryWidget(
        title="The last failures",
        log_group_names=[log_group.log_group_name],
        query_string=FAILURES,
        width=WHOLE,
        height=8,
    )
