"""Rules run over the readings of one text, within a budget: from patterns to matches.

Joins `text`, `matching`, `model` and `commands`; says what was found, where, and how sure it is.
Refuses to know conversations and policy. Begin with `engine.Engine.scan`.
"""
