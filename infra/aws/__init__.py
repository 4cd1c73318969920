"""AWS as it is: what a deployment finds there, and what it left."""
