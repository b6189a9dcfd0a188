"""Measurements that a person runs by hand; each folder is one, started with `python -m`."""
