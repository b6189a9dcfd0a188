"""Another client of guarded servers: it asks each line of its input, and prints the answer.

Usage: `other_client.py FOLDER`, then lines such as `["mail", "read_mail", {}]`. Servers start when
they are first asked.
"""

import json
import sys
from pathlib import Path

from tests.wrap.client_servers import call, guard

folder = Path(sys.argv[1])
servers = {}
for line in sys.stdin:
    name, tool, arguments = json.loads(line)
    if name not in servers:
        servers[name] = guard(folder, name).opened()
    print(json.dumps(call(servers[name], tool, **arguments)), flush=True)
for server in servers.values():
    server.end()
