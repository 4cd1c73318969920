"""Counts each user's messages, and still knows the count when another environment answers.

On Lambda the counts are in the table that stack.py adds. Without one, as under `make run`, they are
in memory: gone with the process.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterable
from functools import cache
from typing import Any

import fastapi_poe as fp

TABLE = os.environ.get("COUNTS_TABLE")

in_memory: Counter[str] = Counter()


def count_one(user_id: str) -> int:
    """Count one more message of this user. Returns how many there are."""
    if TABLE is None:
        in_memory[user_id] += 1
        return in_memory[user_id]
    item = dynamodb().update_item(
        TableName=TABLE,
        Key={"user_id": {"S": user_id}},
        # One request reads and writes, so that two messages at once are counted as two.
        UpdateExpression="ADD messages :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="UPDATED_NEW",
    )
    return int(item["Attributes"]["messages"]["N"])


@cache
def dynamodb() -> Any:
    """Created at an environment's first message: importing boto3 takes 0.3 s of a CPU, which is a
    second with 512 MB. At the top of this file, every cold start would wait for it."""
    import boto3

    return boto3.client("dynamodb")


class RememberBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        # In a thread, since boto3 blocks.
        count = await asyncio.to_thread(count_one, request.user_id)
        yield fp.PartialResponse(text=f"This is message {count} of yours.")


bot = RememberBot()
