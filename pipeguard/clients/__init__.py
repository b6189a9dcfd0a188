"""MCP clients: one YAML file for each, and the engine that edits their files and undoes that.

The calls, in order, and their modules::

    files = find(Machine.here(project))       or find_in_repository(root)      machine
    config = read_config(files[0])            bytes, text, problem, servers    entries
    server = config.servers[0]                fields, line, spans, guard       entries
    judge(server, GuardOptions())             guarded, open, or an obstacle    rewrite
    plan(config, machine, launcher, options)  the planned change               setting
    plan_undo(config, machine)                the planned undoing              undoing

A client is a file here whose name ends in `.yaml` (`catalog` says which keys it may have). Nothing
is registered, and the code knows no client by its name.
"""
