"""What is asked: a query of Poe's, and the Function URL's event with it."""

import json
import uuid
from typing import Any

EARLIER = 'An earlier message, as people and bots "write" them.\n' * 20  # some 1 kB


def query(question: str, history: int = 0) -> str:
    """Poe's request. `history`: bytes of earlier messages in front of the question."""
    earlier = [_message(number, EARLIER) for number in range(history // len(EARLIER))]
    return json.dumps(
        {
            "version": "1.2",
            "type": "query",
            "query": [*earlier, _message(len(earlier), question)],
            "user_id": "u-1",
            "conversation_id": "c-1",
            "message_id": "m-1",
            "metadata": "",
        }
    )


def event(headers: dict[str, str], body: str) -> bytes:
    """A Function URL's (payload 2.0)."""
    return json.dumps(
        {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/",
            "rawQueryString": "",
            "headers": {"host": "x.lambda-url.eu-west-1.on.aws", **headers},
            "requestContext": {
                "http": {
                    "method": "POST",
                    "path": "/",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1",
                    "userAgent": "bench",
                },
                "requestId": str(uuid.uuid4()),
                "routeKey": "$default",
                "stage": "$default",
            },
            "isBase64Encoded": False,
            "body": body,
        }
    ).encode()


def _message(number: int, content: str) -> dict[str, Any]:
    role = "bot" if number % 2 else "user"
    return {"role": role, "content": content, "content_type": "text/markdown"}
