"""Detection: what the texts of one message show, as matches of rules.

It reads texts (`text`), runs rules over them (`scanning`), reads commands (`commands`) and
meaning (`model`), and remembers what results brought (`flows`). It decides nothing: the firewall
does. Like the firewall it knows no file, clock, socket, thread or randomness.
"""
