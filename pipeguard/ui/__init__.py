"""The web page on which a person decides: what waits, what happens, and what may happen.

Reads the store and the clients' files for each request, and keeps nothing but who is in.
"""
