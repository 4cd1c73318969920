"""A bot's requirements and the host's pins → every version and hash."""
