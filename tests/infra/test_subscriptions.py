"""Whether the mail that alarms wait for is confirmed."""

import pytest

from infra.aws.subscriptions import PENDING, is_pending
from tests.support.aws import answering


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


@pytest.mark.parametrize(
    ("subscriptions", "pending"),
    [
        ([("me@example.org", PENDING)], True),
        ([("me@example.org", "arn:aws:sns:eu-west-1:123456789012:T:1")], False),
        ([("you@example.org", PENDING), ("me@example.org", "arn:1")], False),
        ([("you@example.org", "arn:1")], True),
    ],
)
def test_only_the_addresss_own_subscription_decides(
    subscriptions: list[tuple[str, str]],
    pending: bool,
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """API reference of SNS, ListSubscriptionsByTopic."""
    members = "".join(
        f"<member><Endpoint>{email}</Endpoint><SubscriptionArn>{arn}</SubscriptionArn></member>"
        for email, arn in subscriptions
    )
    result = f"<Subscriptions>{members}</Subscriptions>"
    result = f"<ListSubscriptionsByTopicResult>{result}</ListSubscriptionsByTopicResult>"
    body = f"<ListSubscriptionsByTopicResponse>{result}</ListSubscriptionsByTopicResponse>"
    with answering(lambda _: (200, body)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", endpoint)
        assert is_pending("arn:topic", "me@example.org") == pending


def test_where_it_may_not_be_asked_the_mail_is_told_of(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    with answering(lambda _: (403, denied)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", endpoint)
        assert is_pending("arn:topic", "me@example.org")
