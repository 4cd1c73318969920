"""The function's metrics in CloudWatch: Lambda's own, and those that the handler writes."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

# The handler's lines are in embedded metric format: this namespace, this one dimension.
NAMESPACE = "PoeBot"


def bot(
    function: lambda_.Function, name: str, statistic: str, period: cdk.Duration
) -> cloudwatch.Metric:
    return _metric(NAMESPACE, function, name, statistic, period)


def of_lambda(
    function: lambda_.Function, name: str, statistic: str, period: cdk.Duration
) -> cloudwatch.Metric:
    return _metric("AWS/Lambda", function, name, statistic, period)


def milliseconds(seconds: float) -> float:
    """Lambda's unit for durations."""
    return 1000 * seconds


def _metric(
    namespace: str, function: lambda_.Function, name: str, statistic: str, period: cdk.Duration
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map={"FunctionName": function.function_name},
        statistic=statistic,
        period=period,
    )
