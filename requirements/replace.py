"""Put a new virtual environment in the place of another: `replace.py NEW PLACE`.

For the time between two renames there is none. Scripts name the interpreter by its path, so those
of NEW get the path that it will have.
"""

import os
import shutil
import sys
from pathlib import Path

new, place = (Path(os.path.abspath(path)) for path in sys.argv[1:])
for script in (new / "bin").iterdir():
    if script.is_file() and not script.is_symlink():
        text = script.read_bytes()
        script.write_bytes(text.replace(os.fsencode(new / "bin"), os.fsencode(place / "bin")))
old = place.with_name(f"{place.name}.old")
shutil.rmtree(old, ignore_errors=True)
if place.exists():
    place.rename(old)
new.rename(place)
shutil.rmtree(old, ignore_errors=True)
