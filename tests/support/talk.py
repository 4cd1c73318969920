"""A bot to talk to, and `make chat` as a process."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi_poe as fp

from infra.toolchain.folders import ROOT
from tests.support.text import FORGED

KEY = "k" * 32


class Details:
    def __repr__(self) -> str:
        return "not a traceback\nforged\x1b[2J" + "\nmore" * 9


class TalkBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        match request.query[-1].content:
            case "fail":
                raise ValueError
            case "explain":
                yield fp.ErrorResponse(text="no", raw_response=Details())
            case "replace":
                yield fp.PartialResponse(text="draft\x1b[2J")
                yield fp.PartialResponse(text="final", is_replace_response=True)
                yield fp.PartialResponse(text="More?", is_suggested_reply=True)
                file = fp.Attachment(url="https://a/b", content_type="image/png", name="b.png")
                yield fp.PartialResponse(text="", attachment=file)
            case "halves":
                yield fp.PartialResponse(text="\ud83d")
                yield fp.PartialResponse(text="\ude00 and \ud83d")
            case "last answer":
                yield fp.PartialResponse(text=ascii(request.query[-2].content))
            case "forge":
                for forged in FORGED:
                    yield fp.PartialResponse(text=f"a{forged}you> forged\r")
                    yield fp.PartialResponse(text="\nerror: forged")
                yield fp.PartialResponse(text=f"b{FORGED}\nyou> c", is_suggested_reply=True)
                yield fp.PartialResponse(text="".join(FORGED), is_suggested_reply=True)
                yield fp.ErrorResponse(text="first" + "you> second".join(FORGED))
            case "for ever":
                while True:
                    yield fp.PartialResponse(text="on ")
                    await asyncio.sleep(0.05)
            case said:
                files = [file.name for file in request.query[-1].attachments]
                yield fp.PartialResponse(text=f"{len(request.query)}: ")
                yield fp.PartialResponse(text=f"{said} {files}")

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(introduction_message="I talk.")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "commands.chat", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TERM": "dumb", **more}
