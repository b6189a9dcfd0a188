"""Patterns looked for at once (Hyperscan), and each candidate confirmed (RE2, then `re`).

Knows expressions and bytes; refuses to know what a match means. Begin with
`pattern_set.PatternSet`, one compiled database and its pass over a block.
"""
