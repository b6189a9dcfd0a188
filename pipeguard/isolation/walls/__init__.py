"""The walls of a sandbox that a server hit, and their descriptions for the model and the person.

Grants nothing.
"""
