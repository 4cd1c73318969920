"""Starts MiniStack behind a guard, with three defects fixed. Runs on its own environment's Python.

`ministack_start.py ROOT DESCRIPTOR`: the checkout's folder, and the socket that is served. The
credentials that open it are this process's AWS_ACCESS_KEY_ID and so on.

What CloudFormation does (its template reference) and MiniStack 1.5.33 does not:
- `Ref` of a secret is its ARN; MiniStack gives its name.
- GenerateSecretString honours ExcludePunctuation; MiniStack ignores it.
- A URL's FunctionArn ends with its alias (Lambda API reference, GetFunctionUrlConfig).

And where policies are enforced: the CDK's bucket takes requests over TLS alone. Requests
over loopback pass for those.
"""

import asyncio
import os
import signal
import string
import sys
import threading
from typing import Any

from hypercorn.asyncio import serve  # type: ignore[import-not-found]
from hypercorn.config import Config  # type: ignore[import-not-found]
from ministack import app  # type: ignore[import-not-found]
from ministack.core import iam_evaluator, lambda_runtime  # type: ignore[import-not-found]
from ministack.services import lambda_svc, sts  # type: ignore[import-not-found]
from ministack.services.cloudformation import provisioners  # type: ignore[import-not-found]

sys.path.append(sys.argv[1])  # last, so that nothing of MiniStack's is hidden

from local.aws.guard import Guard
from local.signature import Credentials

Properties = dict[str, Any]
Made = tuple[str, dict[str, str]]  # physical id, attributes

secrets = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
create_secret, update_secret, delete_secret = (
    secrets[verb] for verb in ("create", "update", "delete")
)
create_url = lambda_svc._create_function_url_config
code_url = lambda_svc._presigned_code_url
condition_value = iam_evaluator._resolve_condition_key


def without_punctuation(properties: Properties) -> Properties:
    generate = properties.get("GenerateSecretString", {})
    if not generate.get("ExcludePunctuation"):
        return properties
    excluded = generate.get("ExcludeCharacters", "") + string.punctuation
    return {**properties, "GenerateSecretString": {**generate, "ExcludeCharacters": excluded}}


def name_of(arn: str) -> str:
    """MiniStack's own key for a secret: the ARN's end without the six random characters."""
    return arn.rpartition(":")[2].rpartition("-")[0]


def create_with_arn(logical_id: str, properties: Properties, stack: str) -> Made:
    _, attributes = create_secret(logical_id, without_punctuation(properties), stack)
    return attributes["Arn"], attributes


def update_with_arn(
    arn: str, old: Properties, new: Properties, stack: str, logical_id: str
) -> Made:
    _, attributes = update_secret(
        name_of(arn), without_punctuation(old), without_punctuation(new), stack, logical_id
    )
    return attributes["Arn"], attributes


def delete_with_arn(arn: str, properties: Properties) -> None:
    delete_secret(name_of(arn), properties)


def create_url_of_alias(function: str, data: dict[str, Any], qualifier: str | None) -> Any:
    response = create_url(function, data, qualifier)
    config = lambda_svc._function_urls.get(lambda_svc._url_config_key(function, qualifier))
    if response[0] == 201 and qualifier:
        config["FunctionArn"] += f":{qualifier}"
        return lambda_svc.json_response(config, status=201)
    return response


def condition_value_on_loopback(key: str, context: Any) -> Any:
    return "true" if key.lower() == "aws:securetransport" else condition_value(key, context)


def role_credentials(function: dict[str, Any]) -> dict[str, str]:
    """For a function that MiniStack runs itself, such as a custom resource's.

    MiniStack's own are the caller's, or can be computed from the function's name.
    """
    made = Credentials.random()
    role, name = function.get("Role", "").rpartition("/")[2], function["FunctionName"]
    account = function["FunctionArn"].split(":")[4]
    session = {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
        "UserId": f"{role}:{name}",
        "SecretAccessKey": made.secret_access_key,
        "SessionToken": made.session_token,
    }
    sts.register_session(made.access_key_id, session)
    return made.environment


def session_credentials(key_id: str) -> Credentials | None:
    """What STS gave to a caller that this run's credentials led to."""
    session = sts._sessions.get(key_id)
    if session is None or sts._session_expired(session):
        return None
    return Credentials(key_id, session["SecretAccessKey"], session["SessionToken"])


def guarded() -> Guard:
    of_this_run = Credentials.of(os.environ)

    def lookup(key_id: str) -> Credentials | None:
        mine = key_id == of_this_run.access_key_id
        return of_this_run if mine else session_credentials(key_id)

    return Guard(app.app, int(os.environ["GATEWAY_PORT"]), lookup)


def fix(guard: Guard) -> None:
    secrets.update(create=create_with_arn, update=update_with_arn, delete=delete_with_arn)
    lambda_svc._create_function_url_config = create_url_of_alias
    lambda_svc._presigned_code_url = lambda function: guard.link(code_url(function))
    lambda_svc.execution_credentials = lambda_runtime.execution_credentials = role_credentials
    iam_evaluator._resolve_condition_key = condition_value_on_loopback


def end_with_the_starter() -> None:
    """End with the process that started this: it holds stdin's other end, which closes with it."""
    starter = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def wait() -> None:
        os.read(starter, 1)
        os.killpg(0, signal.SIGTERM)  # functions that MiniStack started, too

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_the_starter()
    guard = guarded()
    fix(guard)
    config = Config()
    config.bind = [f"fd://{sys.argv[2]}"]
    config.keep_alive_timeout = 75
    asyncio.run(serve(guard, config))
