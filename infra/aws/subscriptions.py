"""Whether the address that alarms go to has agreed to it."""

from infra.aws.client import AwsError, client, explained

PENDING = "PendingConfirmation"  # in place of an ARN (SNS API reference, Subscription)


def is_pending(topic: str, email: str) -> bool:
    """Whether the mail that asks `email` for its consent waits for an answer: until then, no alarm
    arrives there. True as well where that can't be found out."""
    try:
        with explained():
            pages = client("sns").get_paginator("list_subscriptions_by_topic")
            found = [
                each for page in pages.paginate(TopicArn=topic) for each in page["Subscriptions"]
            ]
    except AwsError:
        return True
    arns = [each["SubscriptionArn"] for each in found if each["Endpoint"] == email]
    return not arns or PENDING in arns
