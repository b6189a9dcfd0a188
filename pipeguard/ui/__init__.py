"""The web page on which a person decides: pending decisions, live calls, and policies.

Reads the store and the clients' files for each request, and keeps only the visitors in memory.
"""
