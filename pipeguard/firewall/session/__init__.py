"""One conversation with one server: every event in, one verdict out, every request answered.

Holds open requests and the agreed revision, and calls all other packages of the firewall. Knows no
transport and no storage: it is given events with their times. Begin with `session.Session.take`,
which says what follows from it.
"""
