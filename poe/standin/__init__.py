"""The bot asks Poe."""
