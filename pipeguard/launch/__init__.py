"""How a server's process starts, is confined and ends, on each system.

Refuses to know messages, rules and policy. Begin with `child`, which is the way in, then `posix`
and `warden`; `environment` decides which variables a server gets.
"""
