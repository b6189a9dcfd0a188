"""Rules run over the readings of one text, within a budget: from patterns to matches.

Joins `text`, `matching`, `model` and `commands`; reports matches, places and confidence.
Refuses to know conversations and policy. Begin with `engine.Engine.scan`, then `readings.READINGS`,
the table of its readings. `scan` runs rules over a reading, `rating` rates a match, and `origin`
leads back from it to a string of the message.
"""
