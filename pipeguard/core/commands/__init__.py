"""What the arguments of a call would do: commands, statements and paths, read as their programs do.

Turns arguments into plain lines (`$ rm -rf /`, `< ~/.ssh/id_rsa`) that rules are run over. Runs
nothing, opens nothing, and knows no rule. Begin with `effects.effects_of`, then `interpret`.
"""
