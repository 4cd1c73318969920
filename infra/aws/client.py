"""What goes wrong on the way to AWS, as one line with what to do."""

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from infra.toolchain.errors import UserError

NO_CREDENTIALS = (
    "no AWS credentials: log in (`aws sso login`, `aws configure`) or set AWS_PROFILE,"
    " then run the same command again"
)
NO_REGION = "no AWS region: set AWS_REGION, such as `export AWS_REGION=us-east-1`"

_REFUSED_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


class AwsError(UserError):
    """One line: what AWS refused or doesn't have, and what to do about it."""


def client(service: str) -> Any:
    """boto3's client, in the region of AWS_REGION too: boto3 reads AWS_DEFAULT_REGION alone,
    while the CDK's CLI takes either."""
    return boto3.client(service, region_name=os.environ.get("AWS_REGION") or None)


def chosen_region() -> str:
    """From the environment or the profile; empty where neither has one."""
    return os.environ.get("AWS_REGION") or boto3.Session().region_name or ""


def known_regions() -> list[str]:
    """AWS's when this botocore was released: a newer one isn't among them."""
    session = boto3.Session()
    partitions = session.get_available_partitions()
    return [name for each in partitions for name in session.get_available_regions("lambda", each)]


@contextmanager
def explained() -> Iterator[None]:
    """Raise AwsError for whatever boto3 raises inside."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise AwsError(explanation(error)) from None


def explanation(error: ClientError | BotoCoreError) -> str:
    match error:
        case ClientError():
            return _of_refusal(error)
        case NoCredentialsError() | PartialCredentialsError():
            return NO_CREDENTIALS
        case UnauthorizedSSOTokenError() | TokenRetrievalError():
            return "the AWS login has expired: run `aws sso login`"
        case ProfileNotFound():
            return f"{error}: set AWS_PROFILE to one that `aws configure list-profiles` lists"
        case NoRegionError():
            return NO_REGION
        case InvalidRegionError():
            return _unknown_region(chosen_region())
        case EndpointConnectionError() if chosen_region() not in known_regions():
            return _unknown_region(chosen_region())
        case EndpointConnectionError() | HTTPClientError():
            return (
                f"AWS can't be reached from here ({type(error).__name__}): check the network,"
                " and HTTPS_PROXY if there is a proxy"
            )
        case _:
            return f"AWS can't be reached: {error}"


def _unknown_region(region: str) -> str:
    typed = region.strip().lower()
    close = difflib.get_close_matches(typed, known_regions(), n=5)
    close.sort(key=lambda name: sorted(name) != sorted(typed))  # two letters that changed places
    return f"{region} isn't a region of AWS: set AWS_REGION to {[*close, 'us-east-1'][0]}"


def _of_refusal(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    if code in _REFUSED_CREDENTIALS:
        return f"AWS refuses these credentials ({code}): log in again (`aws sso login`)"
    if code in _DENIED:
        return f"these AWS credentials may not call {error.operation_name}: ask for that permission"
    message = " ".join(error.response["Error"].get("Message", code).split())
    return f"AWS refuses {error.operation_name}: {message}"
