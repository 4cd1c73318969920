"""Poe on this machine."""
