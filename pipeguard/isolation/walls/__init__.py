"""The walls of a sandbox that a server hit, as the model and the person are told of them.

Grants nothing.
"""
