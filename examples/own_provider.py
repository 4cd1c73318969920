"""A model provider of your own: any API in OpenAI's form, with a key of your own.

The key is a second member of the bot's secret (docs/your-bot.md, "Secrets"), and an environment
variable when it runs: locally from secrets.json, on Lambda by `make set-secret`.
OPENAI_BASE_URL, if it is set too, chooses another provider, or a model on your own machine.
"""

import json
import os
from collections.abc import AsyncIterable

import fastapi_poe as fp
import httpx
from httpx_sse import aconnect_sse

MODEL = "gpt-4o-mini"
URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions"
HEADERS = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
ROLES = {"bot": "assistant"}  # where OpenAI's names are not Poe's


class OwnProviderBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        messages = [
            {"role": ROLES.get(m.role, m.role), "content": m.content} for m in request.query
        ]
        body = {"model": MODEL, "messages": messages, "stream": True}
        async with (
            httpx.AsyncClient(headers=HEADERS, timeout=60) as http,
            aconnect_sse(http, "POST", URL, json=body) as answer,
        ):
            if answer.response.is_error:
                status = answer.response.status_code
                yield fp.ErrorResponse(text=f"The model's provider answered with status {status}.")
                return
            async for event in answer.aiter_sse():
                if event.data == "[DONE]":
                    break
                for choice in json.loads(event.data)["choices"]:
                    if text := choice["delta"].get("content"):
                        yield fp.PartialResponse(text=text)


bot = OwnProviderBot()
