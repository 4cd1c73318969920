"""`make X` is commands/X.py."""

import signal
import sys

# What `python -m` has there while it looks for the module that it will run: one of these.
if sys.argv[0] == "-m":
    # Ctrl-C during the imports ends it, without a traceback. `run_command` has its own way then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
