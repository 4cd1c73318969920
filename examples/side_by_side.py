"""Several bots asked at the same time; each answer is shown as soon as it is complete.

`is_replace_response` replaces all that was shown so far. What was replaced still counts toward
Poe's 100,000 characters for one answer, so replace now and then, not with every word.
"""

import asyncio
from collections.abc import AsyncIterable

import fastapi_poe as fp

MODELS = ("GPT-3.5-Turbo", "Claude-3-Haiku", "Gemini-1.5-Flash")


class SideBySideBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        answers = dict.fromkeys(MODELS, "*is thinking …*")

        async def ask(model: str) -> None:
            try:
                answers[model] = await fp.get_final_response(request, model, request.access_key)
            except fp.BotError:  # the others' answers are still worth showing
                answers[model] = "*did not answer*"

        yield fp.PartialResponse(text=_shown(answers))
        asked = [asyncio.create_task(ask(model)) for model in MODELS]
        try:
            for answered in asyncio.as_completed(asked):
                await answered
                yield fp.PartialResponse(text=_shown(answers), is_replace_response=True)
        finally:  # where the user has left meanwhile
            for task in asked:
                task.cancel()

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(server_bot_dependencies=dict.fromkeys(MODELS, 1))


def _shown(answers: dict[str, str]) -> str:
    return "\n\n".join(f"**{model}**\n\n{answer}" for model, answer in answers.items())


bot = SideBySideBot()
