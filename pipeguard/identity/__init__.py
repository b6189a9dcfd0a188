"""The server that a command starts: its name for pins, audit and policy, and its program.

Reads a command line as a person would, through npx, uvx, docker and the like. Starts nothing and
stores nothing; `state` remembers which server had a name first. Begin with `launch`, then
`server_name`.
"""
