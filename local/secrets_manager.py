"""A Secrets Manager on one's own machine: moto's, over HTTP, with one secret in it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

REGION = "us-east-1"
NAME = "poe-bot"


@dataclass(frozen=True)
class Secret:
    arn: str
    endpoint: str  # of the Secrets Manager that holds it

    @property
    def environment(self) -> dict[str, str]:
        """What a function needs to read it."""
        return {
            "ACCESS_KEY_SECRET_ARN": self.arn,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.endpoint,
        }


@asynccontextmanager
async def secret(members: Mapping[str, str]) -> AsyncIterator[Secret]:
    """Serve a secret with these members on a free port of loopback."""
    # moto takes seconds to import: in a thread, so that the rest of a start goes on.
    made, stop = await asyncio.to_thread(_start, members)
    try:
        yield made
    finally:
        await asyncio.to_thread(stop)


def _start(members: Mapping[str, str]) -> tuple[Secret, Callable[[], None]]:
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "secretsmanager",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    answer = client.create_secret(Name=NAME, SecretString=json.dumps(dict(members)))

    def stop() -> None:
        # moto keeps what it holds for the process's life, not for the server's.
        client.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
        server.stop()

    return Secret(answer["ARN"], endpoint), stop
