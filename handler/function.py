"""The buffered way: awslambdaric and plain Mangum, as `handler.function.handler`.

For a function without the wrapper behind a BUFFERED Function URL. Lambda's convention wants the
start at import.
"""

import os

from mangum import Mangum

from handler import secrets_manager
from handler.app import SECRET_ARN, load

app = load(os.environ, lambda: secrets_manager.read(os.environ[SECRET_ARN], os.environ))

# Mangum would run startup and shutdown around every request.
handler = Mangum(app, lifespan="off")
