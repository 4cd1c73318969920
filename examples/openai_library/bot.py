"""Poe's models by OpenAI's library, at the expense of a key's owner.

The key is a member of the bot's secret (docs/your-bot.md, "Secrets"): locally in secrets.json, on
Lambda by `make set-secret NAME=POE_API_KEY`. Without a key of Poe's, the stand-in takes any.
"""

import os
from collections.abc import AsyncIterable
from typing import Any

import fastapi_poe as fp
import openai

MODEL = "GPT-4o"
ROLES = {"bot": "assistant"}  # where OpenAI's names are not Poe's

client = openai.AsyncOpenAI(api_key=os.environ["POE_API_KEY"], base_url="https://api.poe.com/v1")


class OpenAiLibraryBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        messages: list[Any] = [
            {"role": ROLES.get(m.role, m.role), "content": m.content} for m in request.query
        ]
        try:
            stream = await client.chat.completions.create(
                model=MODEL, messages=messages, stream=True
            )
            async for chunk in stream:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    yield fp.PartialResponse(text=text)
        except openai.APIStatusError as error:
            yield fp.ErrorResponse(text=f"{MODEL} answered with status {error.status_code}.")


bot = OpenAiLibraryBot()
