"""What PipeGuard finds and what it lets be: recall, false blocks and precision of the rules.

Cases are data in cases/, in two splits: rules may be worked on with `tuned`; `held` only measures.
Nothing in here knows a rule: formats, disguises and cases are made from what issuers and
standards publish, so that a rule and its measure cannot share a mistake.
"""
