"""Starts MiniStack with three defects fixed. Runs on its own virtual environment's Python.

What CloudFormation does (its template reference) and MiniStack 1.5.33 does not:
- `Ref` of a secret is its ARN; MiniStack gives its name.
- GenerateSecretString honours ExcludePunctuation; MiniStack ignores it.
- A URL's FunctionArn ends with its alias (Lambda API reference, GetFunctionUrlConfig).

And where policies are enforced: the CDK's bucket takes requests over TLS alone. What stays on
loopback counts as such.
"""

import os
import signal
import string
import threading
from typing import Any

from ministack.app import main  # type: ignore[import-not-found]
from ministack.core import iam_evaluator  # type: ignore[import-not-found]
from ministack.services import lambda_svc  # type: ignore[import-not-found]
from ministack.services.cloudformation import provisioners  # type: ignore[import-not-found]

Properties = dict[str, Any]
Made = tuple[str, dict[str, str]]  # physical id, attributes

secrets = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
create_secret, update_secret, delete_secret = (
    secrets[verb] for verb in ("create", "update", "delete")
)
create_url = lambda_svc._create_function_url_config
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


def end_with_the_starter() -> None:
    """Whoever started this holds the other end of stdin, which closes even where it was killed."""
    starter = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def wait() -> None:
        os.read(starter, 1)
        os.killpg(0, signal.SIGTERM)  # functions that MiniStack started, too

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_the_starter()
    secrets.update(create=create_with_arn, update=update_with_arn, delete=delete_with_arn)
    lambda_svc._create_function_url_config = create_url_of_alias
    iam_evaluator._resolve_condition_key = condition_value_on_loopback
    main()
