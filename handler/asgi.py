"""The plain ASGI app, as `handler.asgi:app`, for uvicorn or a Lambda Web Function.

The convention of such servers wants the start at import.
"""

import os

from handler.app.load import load
from handler.log import lines
from handler.secret.reader import SecretReader

lines.configure(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))
app = load(os.environ, SecretReader.started(os.environ))
