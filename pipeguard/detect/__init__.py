"""Detection: matches of rules in the texts of one message.

It reads texts (`text`), runs rules over them (`scanning`), reads commands (`commands`) and
meaning (`model`), and remembers earlier results (`flows`). It decides nothing: the firewall
does. Like the firewall it knows no file, clock, socket, thread or randomness.
"""
