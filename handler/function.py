"""The buffered way: awslambdaric and plain Mangum, as `handler.function.handler`.

For a function without the wrapper behind a BUFFERED Function URL. Lambda's convention wants the
start at import.
"""

import os

from mangum import Mangum

from handler.app import load
from handler.secrets_manager import SecretReader

app = load(os.environ, SecretReader.started(os.environ))

# Mangum would run startup and shutdown around every request.
handler = Mangum(app, lifespan="off")
