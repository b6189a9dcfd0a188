"""A registry like npm's and PyPI's on loopback, with one package that attacks its installer.

The packages are real: npm, pip and uv download and unpack them, and run their scripts.
"""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

NAME, VERSION = "some-server", "1.0.0"
_INFO = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_PROGRAMS = f"[console_scripts]\n{NAME}=some_server:main\n"
SERVER = "print('it runs')\n"
# A build backend of its own (PEP 517, in-tree): what `pip install` runs, with nothing else needed.
BACKEND = f"""
import os, pathlib, subprocess, sys, zipfile
def build_wheel(folder, settings=None, metadata=None):
    here = pathlib.Path(__file__).parent
    script = here / "install.sh"
    run = subprocess.run(["/bin/sh", str(script)], cwd=here)
    if run.returncode:
        raise SystemExit(run.returncode)
    info = "some_server-{VERSION}.dist-info"
    name = "some_server-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("some_server.py", "def main():\\n    pass\\n")
        wheel.writestr(info + "/METADATA", {_INFO!r})
        wheel.writestr(info + "/WHEEL", {_WHEEL!r})
        wheel.writestr(info + "/entry_points.txt", {_PROGRAMS!r})
        wheel.writestr(info + "/RECORD", "")
    return name
"""
PROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "some-server"
version = "1.0.0"
"""


@contextmanager
def registry(script: str, files: Mapping[str, str], **manifest: object) -> Iterator[int]:
    """Serve the package; yields the port.

    Args:
        script: a shell script that its installer runs in the unpacked package.
        files: further files of the package.
        manifest: further members of npm's `package.json`.
    """
    files = {**files, "install.sh": script}
    said = {"name": NAME, "version": VERSION, "bin": "server.js", **manifest}
    said["scripts"] = {"postinstall": "/bin/sh install.sh"}
    npm = _tar("package", {**files, "package.json": json.dumps(said), "server.js": SERVER})
    source = {**files, "backend.py": BACKEND, "pyproject.toml": PROJECT, "PKG-INFO": _INFO}
    pypi = _tar(f"some_server-{VERSION}", source)
    link = f"some_server-{VERSION}.tar.gz"
    answers = {
        f"/{NAME}/-/{NAME}.tgz": npm,
        f"/files/{link}": pypi,
        f"/simple/{NAME}/": f'<a href="/files/{link}">{link}</a>'.encode(),
    }

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            if self.path == f"/{NAME}":
                dist = {"tarball": f"http://{self.headers['Host']}/{NAME}/-/{NAME}.tgz"}
                digest = base64.b64encode(hashlib.sha512(npm).digest()).decode()
                dist["integrity"] = f"sha512-{digest}"
                one = {**said, "dist": dist, "hasInstallScript": True}
                whole = {"name": NAME, "dist-tags": {"latest": VERSION}, "versions": {VERSION: one}}
                body = json.dumps(whole).encode()
            self.send_response(200 if body is not None else 404)
            kind = "text/html" if self.path.startswith("/simple/") else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _tar(folder: str, files: Mapping[str, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            data = text.encode()
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()
