"""Benchmarks: `make bench`, or `make bench NAME`. Each module here has `run() -> list[Figure]`; nothing is asserted."""
