"""Many guarded servers behind one endpoint: their tools under clear names, found by search.

Decides nothing about a frame: each server is behind a Session of its own, and what never passed
one is not in the catalogue. Begin at `catalog` and `search`.
"""
