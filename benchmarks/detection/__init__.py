"""Recall, false blocks and precision of the rules.

Cases are data in cases/, in two splits: `tuned` is for work on rules, `held` only measures. Nothing
here knows a rule: formats, disguises and cases are made from what issuers and standards publish, so
that a rule and its measure cannot share a mistake. Begin with `cases`, then `variants` and `play`.
"""
