"""Results of one tool that leave through another: taint, secrets, and their placeholders.

Remembers the results of a session for a while. Refuses to know rules: the callers decide which text
is a secret or an order. Begin with `ledger.Flows`, then `vault.Vault`, which replaces secrets.
"""
