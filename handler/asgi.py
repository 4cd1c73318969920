"""The plain ASGI app, as `handler.asgi:app`, for uvicorn or a Lambda Web Function.

The convention of such servers wants the start at import.
"""

import os

from handler.app import load
from handler.secrets_manager import SecretReader

app = load(os.environ, SecretReader.started(os.environ))
