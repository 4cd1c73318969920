"""A Poe server bot on AWS Lambda: all that goes into the package."""
