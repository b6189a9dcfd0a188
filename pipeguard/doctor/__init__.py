"""Problems of this installation, and the commands that fix them.

Each check examines one thing and returns diagnoses. No check knows the command line or shows a
secret, and none changes more than any start of PipeGuard does: it creates our folders, and compiles
the rules if they are not compiled yet.

A caller goes in this order::

    for result in examine(machine): ...         one result at a time       examination
    exit_code(results)                          for scripts                examination
"""
