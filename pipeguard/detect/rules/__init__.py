"""Rules and policy as values: what a pack says, checked, and what is done about a finding.

A rule is data with its own samples. Refuses to know the scan engine, so that rules can be read,
listed and documented without it. Begin with `rule.Rule`, then `policy.Policy`.
"""
