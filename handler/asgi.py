"""The plain ASGI app, as `handler.asgi:app`, for uvicorn or a Lambda Web Function.

The convention of such servers wants the start at import.
"""

import os

from handler import secrets_manager
from handler.app import SECRET_ARN, load

app = load(os.environ, lambda: secrets_manager.read(os.environ[SECRET_ARN], os.environ))
