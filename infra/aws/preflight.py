"""What `make deploy` looks at before it changes anything."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from infra.aws.client import AwsError, client, explained
from infra.aws.outputs import function_name

# AWS Lambda Developer Guide, "Creating and managing Lambda function URLs".
WITHOUT_FUNCTION_URLS = frozenset(
    {
        "ap-east-2",
        "ap-south-2",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-west-1",
        "eu-central-2",
        "eu-south-2",
        "il-central-1",
        "me-central-1",
    }
)
KEPT_UNRESERVED = 100  # Lambda refuses a reservation that leaves the account with less
FEW = 50  # conversations at once; new accounts start with 10

# The CDK's own: the parameter that bootstrapping writes, and the version that this library needs.
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 6


@dataclass(frozen=True)
class Place:
    """Where a deployment goes."""

    account: str
    region: str
    concurrency: int  # the account's, for all its functions together
    unreserved: int  # of it, what no function has reserved
    bootstrapped: bool

    def __str__(self) -> str:
        return f"account {self.account}, region {self.region}"


def look() -> Place:
    """Ask AWS with the caller's credentials. Raises AwsError."""
    with explained():
        tokens = client("sts")  # without a region, too
        account = tokens.get_caller_identity()["Account"]
        functions = client("lambda")
        region = functions.meta.region_name
        if region in WITHOUT_FUNCTION_URLS:
            raise AwsError(
                f"Lambda has no Function URLs in {region}: choose another region, such as"
                " `export AWS_REGION=us-east-1`"
            )
        limits = functions.get_account_settings()["AccountLimit"]
        return Place(
            account,
            region,
            limits["ConcurrentExecutions"],
            limits["UnreservedConcurrentExecutions"],
            _is_bootstrapped(),
        )


def _is_bootstrapped() -> bool:
    parameters = client("ssm")
    try:
        found = parameters.get_parameter(Name=BOOTSTRAP_PARAMETER)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        return False
    return int(found["Parameter"]["Value"]) >= BOOTSTRAP_VERSION


def reserved_now(stack: str) -> int:
    """What the stack's function has reserved already; 0 where there is none. Raises AwsError."""
    name = function_name(stack)
    if name is None:
        return 0
    with explained():
        answer = client("lambda").get_function_concurrency(FunctionName=name)
    return int(answer.get("ReservedConcurrentExecutions", 0))


def check_concurrency(place: Place, wanted: int | None, reserved: int) -> str:
    """A remark on how many conversations can run at once, or nothing.

    `wanted`: to be reserved, if anything is; `reserved`: by this stack's function already.
    Raises AwsError for a reservation that Lambda would refuse.
    """
    if wanted is not None:
        most = place.unreserved + reserved - KEPT_UNRESERVED
        if wanted > most:
            raise AwsError(
                f"reserved_concurrency={wanted} can't be had: of this account's"
                f" {place.concurrency}, {KEPT_UNRESERVED} have to stay unreserved, which leaves"
                f" {max(most, 0)}. Leave it out, or ask for more in Service Quotas"
                " (Lambda, Concurrent executions)"
            )
    elif place.concurrency < FEW:
        return (
            f"This account can hold {place.concurrency} conversations at once; Service Quotas"
            " (Lambda, Concurrent executions) gives more, for free."
        )
    return ""
