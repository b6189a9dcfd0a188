"""The user's terminal: the use of colours, and the shell's completion of our commands.

Reads the environment and the shell's settings; prints nothing and changes nothing.
"""
