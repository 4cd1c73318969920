"""uvicorn on the socket that is its standard input: `python web_server.py module:app`."""

import socket
import sys

import uvicorn

config = uvicorn.Config(sys.argv[1], log_level="error", access_log=False)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=0)])
