"""Many patterns in one pass (Hyperscan), and the exact match of each candidate (RE2).

Knows expressions and bytes; refuses to know the meaning of a match. Begin with
`pattern_set.PatternSet`: compiled databases, and their pass over a block.
"""
