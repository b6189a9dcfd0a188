"""The user's terminal: whether to use colours, and whether the shell completes our commands.

Reads the environment and the shell's settings; prints nothing and changes nothing.
"""
