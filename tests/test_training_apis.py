"""An API's operations become the tools that a server made of it would offer."""

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks.detection.servers import stored_definitions
from training.apis import main

DOCUMENT = {
    "parameters": {"page/of": {"name": "page", "description": "Which page."}},
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "All pets.",
                "description": "The latest first.",
                "parameters": [{"$ref": "#/parameters/page~1of"}, {"$ref": "#/none/such"}],
            },
            "post": {"description": "A new one."},
            "delete": {},
            "parameters": [],
        }
    },
}


def test_an_operation_is_a_tool(tmp_path: Path) -> None:
    source, target = tmp_path / "apis", tmp_path / "served"
    (source / "pets.example" / "1.0").mkdir(parents=True)
    (source / "pets.example" / "1.0" / "swagger.json").write_text(json.dumps(DOCUMENT), "utf-8")
    (source / "empty.json").write_text("{}", "utf-8")
    (source / "_index.js").write_text("no API", "utf-8")
    done = CliRunner().invoke(main, [str(source), str(target)])
    assert done.exit_code == 0, done.output
    assert done.output == "2 definitions\n"
    assert [path.name for path in target.iterdir()] == ["api-pets.example.json"]
    stored = dict(stored_definitions(target))
    assert stored["api-pets.example/listPets"] == {
        "name": "listPets",
        "description": "All pets. The latest first.",
        "inputSchema": {
            "type": "object",
            "properties": {"page": {"type": "string", "description": "Which page."}},
        },
    }
    assert stored["api-pets.example/post_pets"]["description"] == "A new one."
