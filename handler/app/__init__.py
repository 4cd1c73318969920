"""Poe's side: the bots as an ASGI app."""
