"""An address of this machine where nothing listens, and nothing can begin to while tests run."""

import atexit
import socket

_bound = socket.socket()
_bound.bind(("127.0.0.1", 0))  # and never `listen`: every connection is refused
atexit.register(_bound.close)

CLOSED = f"127.0.0.1:{_bound.getsockname()[1]}"
"""`host:port`"""
