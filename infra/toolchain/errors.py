"""The base of every error that a user can fix."""


class UserError(Exception):
    """One line for the terminal: what is wrong, then what to do.

    Its text never contains a key, a secret's member or a message.
    """
