"""One conversation with one server: every frame in, one verdict out, every request answered.

Holds what waits and what was agreed, and asks all other packages in turn. Refuses to know
transports and storage: it is given frames and a time. Begin with `session.Session.receive`.
"""
