"""Poe asks the bot."""
