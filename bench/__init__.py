"""How fast it is beside other ways to host the same bot: `make bench` and `bench/results.md`."""
