"""The firewall: equal frames at equal times get equal verdicts.

It parses the protocol, keeps one conversation, compares definitions with their pins and turns
findings into an action. It knows no file, clock, socket, thread or randomness. Begin with
`firewall.session.session`, whose `receive` judges one frame, and `firewall.finding`.
"""
