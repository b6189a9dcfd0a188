"""The user's terminal: whether colours are wanted, and which shell completes our commands.

Reads the environment and shells' own files; prints nothing and changes nothing.
"""
