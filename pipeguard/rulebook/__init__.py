"""The packs of rules as files: read, proven by their samples, compiled once, documented.

Samples, near misses, reference pages, costs and the cache: no frame passes through them. Refuses to
judge: `detect.scanning` does. Begin with `packs`, then `cache` and `compilation`.
"""
