"""fastapi_poe's own app, for uvicorn."""

import os

import fastapi_poe as fp
from bench_bot import bot

app = fp.make_app(bot, access_key=os.environ["POE_ACCESS_KEY"])
