"""Measurements that a person runs by hand: one in each folder, started with `python -m`."""
