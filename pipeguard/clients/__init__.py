"""MCP clients: one YAML file for each, and the engine that edits their files and undoes that.

The calls, in their order, and the modules that they are in::

    files = find(Machine.here(project))       or find_in_repository(root)      machine
    config = read_config(files[0])            bytes, text, problem, servers    entries
    server = config.servers[0]                fields, line, spans, guard       entries
    judge(server, GuardOptions())             guarded, open, or why it cannot  rewrite
    plan(config, machine, launcher, options)  what would change                setting
    plan_undo(config, machine)                what would come back             undoing

A client is a file here whose name ends in `.yaml` (`catalog` says which keys it may have). Nothing
is registered, and the code knows no client by its name.
"""
