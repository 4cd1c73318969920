"""The function's metrics in CloudWatch: Lambda's own, and those that the handler writes."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

# The handler's lines are in embedded metric format: this namespace, this one dimension.
NAMESPACE = "PoeBot"

_LAMBDA = "AWS/Lambda"
_FUNCTION = "FunctionName"


def bot(
    function: lambda_.Function, name: str, statistic: str, period: cdk.Duration
) -> cloudwatch.Metric:
    return _metric(NAMESPACE, {_FUNCTION: function.function_name}, name, statistic, period)


def of_lambda(
    function: lambda_.Function, name: str, statistic: str, period: cdk.Duration
) -> cloudwatch.Metric:
    return _metric(_LAMBDA, {_FUNCTION: function.function_name}, name, statistic, period)


def of_environments(
    provider: lambda_.CapacityProvider,
    function: lambda_.Function,
    name: str,
    statistic: str,
    period: cdk.Duration,
) -> cloudwatch.Metric:
    """Of the function's environments on Managed Instances; every five minutes has one value."""
    names = {
        "CapacityProviderName": provider.capacity_provider_name,
        _FUNCTION: function.function_name,
    }
    return _metric(_LAMBDA, names, f"ExecutionEnvironment{name}", statistic, period)


def milliseconds(seconds: float) -> float:
    """Lambda's unit for durations."""
    return 1000 * seconds


def _metric(
    namespace: str, dimensions: dict[str, str], name: str, statistic: str, period: cdk.Duration
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dimensions,
        statistic=statistic,
        period=period,
    )
