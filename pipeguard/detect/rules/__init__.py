"""Rules as values: the checked content of a pack.

A rule is data with its own samples. Refuses to know the scan engine, so that rules can be read,
listed and documented without it. Begin with `rule.Rule`, then `expressions.Expressions`.
"""
