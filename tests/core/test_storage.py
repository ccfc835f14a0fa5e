"""`brokerd.storage`: modules without a build step find each other under their hashed names (trap 16)."""

from __future__ import annotations

import re

import pytest
from django.core.files.base import ContentFile

from brokerd.storage import ModuleStorage

FILES = {
    "app/main.js": 'import { a } from "./part.js";\nimport * as b from "../other.js";\n',
    "app/part.js": "export const a = 1;\n",
    "other.js": 'export { a } from "./app/part.js";\n',
    "v/x.mjs": 'import "bare-name";\nexport default 1;\n',
    "style.css": '@import "app/part.css";\nbody { background: url(icon.svg) }\n',
    "app/part.css": "p { margin: 0 }\n",
    "icon.svg": "<svg/>\n",
}


@pytest.fixture
def stored(tmp_path):
    """Original name -> hashed name, and how to read one."""
    storage = ModuleStorage(location=tmp_path, base_url="/static/")
    for name, text in FILES.items():
        storage.save(name, ContentFile(text.encode()))
    results = list(storage.post_process({name: (storage, name) for name in FILES}))
    errors = [outcome for _, _, outcome in results if isinstance(outcome, Exception)]
    assert errors == []
    return storage


def content(storage: ModuleStorage, name: str) -> str:
    return storage.open(storage.stored_name(name)).read().decode()


def test_imports_name_the_hashed_files(stored):
    for importer, imported in (
        ("app/main.js", "app/part.js"),
        ("app/main.js", "other.js"),
        ("other.js", "app/part.js"),
    ):
        hashed = stored.stored_name(imported)
        assert re.search(r"\.[0-9a-f]{12}\.js$", hashed)
        assert hashed.rpartition("/")[2] in content(stored, importer), f"{importer} imports {imported}"
    assert stored.stored_name("icon.svg") in content(stored, "style.css")
    assert stored.stored_name("app/part.css") in content(stored, "style.css")


def test_a_change_of_an_imported_module_renames_all_that_import_it(stored, tmp_path):
    before = {name: stored.stored_name(name) for name in FILES}
    stored.delete("app/part.js")
    stored.save("app/part.js", ContentFile(b"export const a = 2;\n"))
    list(stored.post_process({name: (stored, name) for name in FILES}))
    after = {name: stored.stored_name(name) for name in FILES}
    assert {name for name in FILES if before[name] != after[name]} == {"app/main.js", "app/part.js", "other.js"}


def test_bare_names_are_left_alone(stored):
    assert '"bare-name"' in content(stored, "v/x.mjs")
