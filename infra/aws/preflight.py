"""What `make deploy` checks before it changes anything."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from infra.aws.client import AwsError, client, explained
from infra.aws.outputs import function_name

KEPT_UNRESERVED = 100  # Lambda refuses a reservation that leaves the account with less
FEW = 50  # conversations at once; new accounts start with 10

# The CDK's own: the parameter that bootstrapping writes, and the version that this library needs.
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 6


@dataclass(frozen=True)
class Account:
    """An account and a region of AWS, as a deployment finds them."""

    id: str
    region: str
    concurrency: int  # the account's, for all its functions together
    unreserved: int  # of it, what no function has reserved
    bootstrapped: bool

    def __str__(self) -> str:
        return f"account {self.id}, region {self.region}"


def current_account() -> Account:
    """Ask AWS with the caller's credentials. Raises AwsError."""
    with explained():
        tokens = client("sts")  # without a region, too
        id_ = tokens.get_caller_identity()["Account"]
        functions = client("lambda")
        region = functions.meta.region_name
        limits = functions.get_account_settings()["AccountLimit"]
        return Account(
            id_,
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
    """What the stack's function has reserved already; 0 without one. Raises AwsError."""
    name = function_name(stack)
    if name is None:
        return 0
    with explained():
        answer = client("lambda").get_function_concurrency(FunctionName=name)
    return int(answer.get("ReservedConcurrentExecutions", 0))


def check_concurrency(account: Account, wanted: int | None, reserved: int) -> str:
    """A remark on how many conversations can run at once, or nothing.

    `wanted`: to be reserved, if anything is; `reserved`: by this stack's function already.
    Raises AwsError for a reservation that Lambda would refuse.
    """
    if wanted is not None:
        most = account.unreserved + reserved - KEPT_UNRESERVED
        if wanted > most:
            raise AwsError(
                f"reserved_concurrency={wanted} is too many: of this account's"
                f" {account.concurrency}, {KEPT_UNRESERVED} must stay unreserved, which leaves"
                f" {max(most, 0)}. Leave it out, or ask for more in Service Quotas"
                " (Lambda, Concurrent executions)"
            )
    elif account.concurrency < FEW:
        return (
            f"This account can run {account.concurrency} conversations at once. Ask for more in"
            " Service Quotas (Lambda, Concurrent executions); it is free."
        )
    return ""
