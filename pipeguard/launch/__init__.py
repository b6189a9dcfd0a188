"""The start, confinement and end of a server's process, on each system; and who started ours.

Refuses to know messages, rules and policy. Begin with `child`, which is the way in, then `posix`
and `warden`; `environment` decides which variables a server gets. `person` recognizes who may
decide, `agents` who may not.
"""
