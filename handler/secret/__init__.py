"""The secret: its members, and how it is read."""
