"""A bot that charges for its work: `authorize_cost` before it, `capture_cost` after it.

A user who cannot pay gets Poe's own notice: fastapi_poe creates it from the error that
`authorize_cost` raises. Amounts are in thousandths of a US cent.
"""

from collections.abc import AsyncIterable

import fastapi_poe as fp

PER_WORD = 50  # thousandths of a US cent


class TypesetterBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        words = request.query[-1].content.split()
        # The most that it can come to.
        await self.authorize_cost(request, _cost(len(words)))
        done = 0
        try:
            for word in words:
                yield fp.PartialResponse(text=f"{word.capitalize()} ")
                done += 1
        finally:  # what was done is paid for, also where the user has left meanwhile
            await self.capture_cost(request, _cost(done))

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(
            rate_card="0.05 cents for each word", cost_label="0.05 cents a word"
        )


def _cost(words: int) -> fp.CostItem:
    return fp.CostItem(amount_usd_milli_cents=PER_WORD * words, description=f"{words} words")


bot = TypesetterBot()
