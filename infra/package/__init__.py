"""The package for Lambda."""
