"""fastapi_poe's own app under Mangum, as a handler for awslambdaric. The key is in a variable."""

from asgi_app import app
from mangum import Mangum

handler = Mangum(app, lifespan="off")
