"""Suggested replies, and `meta`: plain text instead of Markdown, no suggestions by Poe itself."""

from collections.abc import AsyncIterable

import fastapi_poe as fp

SIGNS = ("rock", "paper", "scissors")


class GameBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        # Poe heeds it only as the first event of an answer.
        yield fp.MetaResponse(text="", content_type="text/plain", suggested_replies=False)
        played = request.query[-1].content.strip().lower()
        if played in SIGNS:
            beats = SIGNS[(SIGNS.index(played) + 1) % len(SIGNS)]
            yield fp.PartialResponse(text=f"I play {beats} *and win*. Once more?")
        else:
            yield fp.PartialResponse(text="Rock, paper or scissors?")
        for sign in SIGNS:
            yield fp.PartialResponse(text=sign.capitalize(), is_suggested_reply=True)

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(introduction_message="I always win. Rock, paper or scissors?")


bot = GameBot()
