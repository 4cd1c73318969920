"""One JSON object a line, and the metrics in it."""
