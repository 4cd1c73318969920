"""Whether a server bot keeps what Poe's protocol promises."""
