"""Lambda's side: the Runtime API's loop, and one invocation as one ASGI request."""
