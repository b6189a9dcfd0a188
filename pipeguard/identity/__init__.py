"""Who a server is: the name for its pins, audit and policy, and what its command launches.

Reads a command line as a person would, through npx, uvx, docker and the like. Starts nothing and
keeps nothing; `state` remembers who had a name first. Begin with `server_name`.
"""
