"""The packs of rules as files: found, proven by their samples, compiled once, documented.

What no frame passes through: samples, near misses, reference pages, the cache, `rules bench`.
Refuses to judge: `core.scanning` does. Begin with `packs`, then `cache`.
"""
