"""Lambda's context object, as AWS's runtimes fill it."""

import time

from handler.runtime.context import Context
from handler.runtime.wire import Invocation

FUNCTION = Context("poe-bot", "7", 512, "/aws/lambda/poe-bot", "stream")


def invocation(deadline_ms=0, **more):
    return Invocation("the-id", deadline_ms, b"{}", "arn:live", **more)


def test_a_context_has_what_is_the_functions_and_what_is_the_invocations():
    context = FUNCTION.of(
        invocation(
            client_context='{"client": {"app_title": "x"}}',
            cognito_identity='{"cognitoIdentityId": "i"}',
            tenant_id="tenant",
        )
    )
    assert (context.aws_request_id, context.invoked_function_arn) == ("the-id", "arn:live")
    assert (context.function_name, context.function_version) == ("poe-bot", "7")
    assert context.memory_limit_in_mb == 512
    assert (context.log_group_name, context.log_stream_name) == ("/aws/lambda/poe-bot", "stream")
    assert context.client_context == {"client": {"app_title": "x"}}
    assert context.identity == {"cognitoIdentityId": "i"}
    assert context.tenant_id == "tenant"


def test_nothing_of_an_invocation_stays_for_the_next():
    FUNCTION.of(invocation(tenant_id="tenant", cognito_identity="{}"))
    context = FUNCTION.of(invocation(client_context="not JSON"))
    assert (context.tenant_id, context.identity, context.client_context) == (None, None, None)


def test_the_remaining_time_is_never_negative():
    assert FUNCTION.of(invocation(1)).get_remaining_time_in_millis() == 0
    soon = FUNCTION.of(invocation(int(time.time() * 1000) + 60_000))
    assert 0 < soon.get_remaining_time_in_millis() <= 60_000
