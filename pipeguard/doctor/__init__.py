"""What is wrong with this installation, and the command that mends it.

Each check looks at one thing as it is and says what it saw (diagnosis). None of them knows the
command line, none shows a secret, and none changes more than any start of PipeGuard does: folders
of ours are made, and rules are compiled where they were not yet.

Who wants to know asks in this order::

    case = Case.here()                          whose installation         diagnosis
    for result in examine(case): ...            one after another          examination
    exit_code(results)                          what a script is told      examination
"""
