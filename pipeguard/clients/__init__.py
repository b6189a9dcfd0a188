"""MCP clients: one YAML file for each, and the engine that edits their files and undoes it.

Who wants to know what is there asks in this order::

    found = find(Machine.here(project))       or find_in_repository(root)      machine
    config = read_config(found[0])            bytes, text, problem, servers    entries
    server = config.servers[0]                fields, line, spans, guard       entries
    judge(server, Wishes())                   guarded, open, or why it cannot  rewrite
    plan(config, machine, launcher, wishes)   what would change                setting
    plan_undo(config, machine)                what would come back             undoing

A client is a file here whose name ends in `.yaml` (`catalog` says what it may hold). Nothing is
registered. All that the code knows of a client stands in it.
"""
