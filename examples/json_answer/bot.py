"""A bot that asks another one for JSON, and reads it.

Under `make run`, poe_answers.toml determines what that one answers, so that the bot runs offline.
"""

import json
from collections.abc import AsyncIterable

import fastapi_poe as fp

MODEL = "GPT-4o"
PROMPT = 'Plan what the user wants to do. Answer with JSON alone: {"steps": ["…", "…"]}'


class PlanBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        prompt = fp.ProtocolMessage(role="system", content=PROMPT)
        request = request.model_copy(update={"query": [prompt, *request.query]})
        answer = await fp.get_final_response(request, MODEL, request.access_key)
        try:
            steps = json.loads(answer)["steps"]
        except (ValueError, KeyError, TypeError):
            yield fp.ErrorResponse(text=f"{MODEL} gave no plan: ask again.")
            return
        for number, step in enumerate(steps, 1):
            yield fp.PartialResponse(text=f"{number}. {step}\n")

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(server_bot_dependencies={MODEL: 1})


bot = PlanBot()
