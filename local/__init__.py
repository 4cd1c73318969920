"""Lambda and AWS on this machine."""
