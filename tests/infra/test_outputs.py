"""A deployed stack as CloudFormation describes it, and what it refuses."""

from collections.abc import Iterator, Sequence

import pytest

from infra.aws.client import AwsError
from infra.aws.outputs import function_name, outputs
from tests.support.aws import NAMESPACE, Answer, answering


def refusal(status: int, code: str, message: str) -> Answer:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, f'<ErrorResponse xmlns="{NAMESPACE}">{error}</ErrorResponse>'


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As AWS words it for a role that is gone."""
    message = "User is not authorized to perform this: the role does not exist"
    with answering(lambda _: refusal(403, "AccessDenied", message)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", endpoint)
        yield


@pytest.fixture
def without_a_stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    message = "Stack with id Mine does not exist"
    with answering(lambda _: refusal(400, "ValidationError", message)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", endpoint)
        yield


def test_a_missing_permission_is_not_taken_for_a_missing_stack(denied: None) -> None:
    with pytest.raises(AwsError, match="^these AWS credentials may not call DescribeStacks: ask "):
        outputs("Mine")
    with pytest.raises(AwsError, match="^these AWS credentials may not call ListStackResources: "):
        function_name("Mine")


def test_a_missing_stack_says_what_to_do(without_a_stack: None) -> None:
    with pytest.raises(AwsError, match="^there is no stack Mine in eu-west-1: check STACK and AW"):
        outputs("Mine")
    assert function_name("Mine") is None


def test_the_bots_function_is_neither_one_that_was_removed_nor_one_that_stack_py_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A move to Managed Instances, or back, makes another one."""
    found = [
        ("FunctionAdded0A1B2C3D", "added", "CREATE_COMPLETE"),
        ("Function0A1B2C3D", "former", "DELETE_COMPLETE"),
        ("ManyAtOnce0A1B2C3D", "present", "UPDATE_COMPLETE"),
    ]
    pages = {"": page(found[:1], following="more"), "more": page(found[1:])}

    def answer(body: str) -> tuple[int, str]:
        return 200, pages["more" if "NextToken=more" in body else ""]

    with answering(answer) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", endpoint)
        assert function_name("Mine") == "present"


def page(functions: Sequence[tuple[str, str, str]], following: str = "") -> str:
    """An answer to ListStackResources: a logical id, a name and a status each."""
    listed = "".join(
        "<member><ResourceType>AWS::Lambda::Function</ResourceType>"
        f"<LogicalResourceId>{id}</LogicalResourceId><PhysicalResourceId>{name}"
        f"</PhysicalResourceId><ResourceStatus>{status}</ResourceStatus></member>"
        for id, name, status in functions
    )
    token = f"<NextToken>{following}</NextToken>" if following else ""
    return (
        f'<ListStackResourcesResponse xmlns="{NAMESPACE}"><ListStackResourcesResult>'
        f"<StackResourceSummaries>{listed}</StackResourceSummaries>{token}"
        "</ListStackResourcesResult></ListStackResourcesResponse>"
    )
