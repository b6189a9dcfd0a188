"""Many guarded servers behind one endpoint: their tools under clear names, found by search.

Decides nothing about a frame: each server is behind a Session of its own, and definitions that
never passed one are not in the catalogue. Begin at `catalog` and `search`.
"""
