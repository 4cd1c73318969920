"""The plain ASGI app, as `handler.asgi:app`, for uvicorn.

The convention of such servers wants the start at import.
"""

import os

from handler.app.load import load
from handler.log.explain import explained
from handler.log.records import share_with_server
from handler.log.setup import set_up
from handler.secret.reader import SecretReader

set_up(
    os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"),
    shows_texts=os.environ.get("BOT_DEBUG") == "1",
)
share_with_server()
with explained():
    app = load(os.environ, SecretReader.started(os.environ))
