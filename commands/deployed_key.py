"""Which member of the secret is the access key of a deployed bot: the bot itself is asked."""

import asyncio

from infra.aws.secret_store import SecretStore
from poe.client.conversation import Conversation, NotAnswering, Refused

UNAUTHORIZED = 401


def deployed_key(url: str, store: SecretStore) -> str:
    """The key that the bot at `url` takes, of those in the stack's secret. One that could be asked
    with none of them, or not at all, has POE_ACCESS_KEY for its key.

    Raises AwsError and BadMember.
    """
    keys = list(store.keys().values())
    taken = asyncio.run(_first_taken(url, keys)) if len(keys) > 1 else None
    return taken or store.access_key()


async def _first_taken(url: str, keys: list[str]) -> str | None:
    for key in keys:
        async with Conversation(url, key) as conversation:
            try:
                await conversation.settings()
            except NotAnswering:
                return None
            except Refused as error:
                if error.status == UNAUTHORIZED:
                    continue
        return key
    return None
