"""Everything of the bot's world on one's own machine: a local Lambda and a stand-in for Poe."""
