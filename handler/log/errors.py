"""The base of every error that keeps the host from starting."""


class StartError(Exception):
    """Its text says what is wrong and what to do, and may be shown: it holds no key, no secret's
    member and no message."""
