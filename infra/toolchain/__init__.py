"""The programs that the project runs: Pythons, Node, the CDK."""
