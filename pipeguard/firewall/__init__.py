"""The firewall: equal events get equal verdicts.

It parses the protocol, keeps one conversation, compares definitions with their pins and turns
findings into an action. It knows no file, clock, socket, thread or randomness. Begin with
`firewall.session.session`, whose `take` judges one frame, and `firewall.finding`.
"""
