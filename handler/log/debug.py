"""Whether texts that may hold a key or a user's message are shown.

`BOT_DEBUG=1` turns it on: `make run` sets it, for one's own eyes; on Lambda only the bot's author
can, at their own risk. The entries read the variable and pass it to `configure`.
"""

on = False
