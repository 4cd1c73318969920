"""Poe's API in OpenAI's form, https://api.poe.com/v1, as creator.poe.com documents it
("OpenAI Compatible API", read in November 2026)."""
