"""Files from the user. Poe parses texts and PDFs (`parsed_content`); others can be downloaded.

What Poe parsed also stands in the conversation, as messages ahead of the user's last one: hand
the request on, as in sub_bot.py, and the other bot has read the files.
"""

from collections.abc import AsyncIterable

import fastapi_poe as fp
import httpx


class ReadFilesBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        attachments = request.query[-1].attachments
        yield fp.PartialResponse(text=f"{len(attachments)} attached.\n")
        for attachment in attachments:
            if attachment.parsed_content is not None:
                read = f"{len(attachment.parsed_content.split())} words, read by Poe"
            else:
                read = f"{await _download(attachment.url)} bytes, downloaded"
            text = f"- {attachment.name} ({attachment.content_type}): {read}\n"
            yield fp.PartialResponse(text=text)

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(allow_attachments=True, expand_text_attachments=True)


async def _download(url: str) -> int:
    """How large the file is. It is never whole in the function's memory."""
    async with httpx.AsyncClient(timeout=30) as http, http.stream("GET", url) as reply:
        reply.raise_for_status()
        return sum([len(piece) async for piece in reply.aiter_bytes()])


bot = ReadFilesBot()
