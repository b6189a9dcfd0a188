"""Rules run over the readings of one text, within a budget: from patterns to matches.

Joins `text`, `matching`, `model` and `commands`; says what matches, where, and how sure that is.
Refuses to know conversations and policy. Begin with `engine.Engine.scan`, then `readings.READINGS`,
the table of what it reads. `scan` runs rules over a reading, `confidence` rates a match, and
`origin` and `location` lead back from it to a string of the message.
"""
