"""What an isolated server was not given and reached for, told to the model and to the person.

Reads what a server says of its own failures, and what the way out refused. Grants nothing.
"""
