"""One JSON object a line, and the metrics in it."""

# Whether texts that may hold a key or a user's message are shown. `BOT_DEBUG=1` turns it on:
# `make run` sets that, for the author's own eyes; on Lambda only the author can, at their own risk.
# The entries read the variable and pass it to `setup.set_up`.
shows_texts = False
