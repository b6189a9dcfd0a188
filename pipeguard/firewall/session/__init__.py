"""One conversation with one server: every frame in, one verdict out, every request answered.

Holds open requests and the agreed revision, and calls all other packages of the firewall. Knows no
transport and no storage: it is given frames and a time. Begin with `session.Session.receive`, which
parses a frame and hands the message to `judge.MessageJudge`.
"""
