"""What holds for the source as a whole: which way imports go, what stays pure, who owns tasks, what is on record."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from brokerd.conf import BASE_DIR, Config
from tunnels.audit import Event

APPS = ("tunnels", "terminals", "brokerd")
"""From the lowest up: each may import itself and those before it."""

SOURCES = sorted(path.relative_to(BASE_DIR) for app in APPS for path in (BASE_DIR / app).rglob("*.py"))
PURE = [
    "brokerd/entry.py",
    *(f"tunnels/{name}.py" for name in ("rules", "keys", "text", "throttle", "files", "sqlite/turns")),
    *(
        f"terminals/{name}.py"
        for name in (
            "access",
            "durations",
            "history",
            "keyboard",
            "kept",
            "limits",
            "modes",
            "nudge",
            "window",
            "protocol",
            "ring",
            "prompt",
            "viewer",
            "end",
            "tickets",
            "session",
            "shell",
            "pages/browsers",
            "seats",
            "company",
            "audience",
            "interrupts",
            "lobby",
            "ssh/notices",
        )
    ),
    *(f"terminals/webhooks/{name}.py" for name in ("damping", "news", "sending", "signing", "targets")),
    *(f"terminals/recording/{name}.py" for name in ("format", "digest", "hook", "policy", "writers")),
    *(
        f"terminals/replay/{name}.py"
        for name in (
            "build",
            "buffer",
            "canvas",
            "charsets",
            "index",
            "parser",
            "screen",
            "search",
            "shown",
            "snapshot",
            "styles",
            "widths",
            "worker",
        )
    ),
    *(str(path) for path in SOURCES if path.parts[:2] == ("tunnels", "agent")),
]
DJANGO = {"django", "channels", "ninja", "allauth", "daphne", "asgiref", "twisted"}


@cache
def tree(path: Path | str) -> ast.Module:
    return ast.parse((BASE_DIR / path).read_text(), str(path))


@cache
def imports(path: Path | str) -> tuple[str, ...]:
    """Full names of the modules that a file imports, wherever in it."""
    return tuple(_imports(path))


def _imports(path: Path | str) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_file(name: str) -> Path | None:
    """The file of ours that an imported name comes from."""
    parts = name.split(".")
    for stem in (parts, parts[:-1]):
        for path in (Path(*stem).with_suffix(".py") if stem else None, Path(*stem) / "__init__.py" if stem else None):
            if path and parts[0] in APPS and (BASE_DIR / path).is_file():
                return path
    return None


def reached(path: Path) -> set[str]:
    """Top-level packages that come in with a file, through whatever of ours it imports."""
    seen, todo, packages = set(), [path], set()
    while todo:
        if (file := todo.pop()) in seen:
            continue
        seen.add(file)
        for name in imports(file):
            packages.add(name.split(".")[0])
            if found := module_file(name):
                todo.append(found)
    return packages


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_go_one_way(path):
    allowed = APPS[: APPS.index(path.parts[0]) + 1]
    used = {name.split(".")[0] for name in imports(path)} & {*APPS, "tests", "bench", "tools"}
    assert used <= set(allowed), f"{path} imports {used - set(allowed)}"


def test_the_pure_files_are_there():
    assert [path for path in PURE if not (BASE_DIR / path).is_file()] == []


@pytest.mark.parametrize("path", PURE)
def test_pure_files_reach_no_django(path):
    assert reached(Path(path)) & DJANGO == set()


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[:2] == ("tunnels", "agent")], ids=str)
def test_the_agent_stands_alone(path):
    ours = {name for name in imports(path) if name.split(".")[0] in APPS}
    beyond = {name for name in ours if not name.startswith("tunnels.agent")}
    assert all(str(module_file(name)) in PURE for name in beyond), beyond


# Tasks

OWNERS = {
    "brokerd/gateway.py",
    "brokerd/pulse.py",
    "brokerd/web.py",
    "terminals/lines.py",
    "terminals/live.py",
    "terminals/recording/recordings.py",
    "terminals/replay/indexer.py",
    "terminals/round_trip.py",
    "terminals/session.py",
    "terminals/ssh/desk.py",
    "terminals/ssh/filelog.py",
    "terminals/ssh/held.py",
    "terminals/webhooks/dispatcher.py",
    "tunnels/agent/lifecycle.py",
    "tunnels/agents.py",
    "tunnels/changes.py",
    "tunnels/database.py",
    "tunnels/learning.py",
    "tunnels/spool.py",
    "tunnels/witness.py",
}
"""Files of objects that end the tasks they start: by `async with`, or by waiting. A new one must be meant."""


def starts_tasks(node: ast.AST) -> bool:
    """`create_task` of anything but a task group, which owns what it starts."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    of = ast.unparse(node.func.value)
    return node.func.attr in ("create_task", "ensure_future") and not re.fullmatch(r"(self\.)?_?(task_)?group", of)


def test_every_task_has_an_owner():
    makers = set()
    for path in SOURCES:
        nodes = list(ast.walk(tree(path)))
        makers |= {str(path) for node in nodes if starts_tasks(node)}
        dropped = [node for node in nodes if isinstance(node, ast.Expr) and starts_tasks(node.value)]
        assert dropped == [], f"{path}:{dropped[0].lineno}: a task that nobody holds"
    assert makers == OWNERS


# Audit


def events_named(path: Path) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event"
    }


@pytest.mark.parametrize("path", [path for path in SOURCES if events_named(path)], ids=str)
def test_events_are_of_the_closed_set(path):
    assert events_named(path) <= set(Event.__members__)


def test_the_closed_set_is_that_of_the_interface():
    """`docs/` may not have the interface's text, so the set is repeated here: a change must be meant."""
    listed = """enrollment.requested .refused host.approved .rejected .revoked .renamed .key_pinned .key_mismatch
    tunnel.opened .closed .refused token.created .used .refused .revoked person.created .disabled .logged_in
    .login_failed .logged_out key.added .removed grant.created .revoked session.opened .refused .joined .left
    .role_changed .ended share.created .revoked forward.opened .refused .closed file.transferred
    recording.failed .viewed .pruned audit.exported setting.changed"""
    noun, names = "", set()
    for word in listed.split():
        noun = word.partition(".")[0] or noun
        names.add(f"{noun}.{word.partition('.')[2]}")
    assert {str(event) for event in Event} == names


WRITES = {"create", "bulk_create", "update_or_create", "get_or_create", "create_user", "update", "delete"}
ACTS = [
    *(f"tunnels/{name}.py" for name in ("enrollment", "hosts", "tokens", "presence", "rotation")),
    *(
        f"terminals/{name}.py"
        for name in (
            "grants",
            "groups",
            "people",
            "api_tokens",
            "keys",
            "sessions",
            "shares",
            "login_audit",
            "second_factor",
            "webhooks/acts",
        )
    ),
    "terminals/recording/acts.py",
]


@cache
def calls(path: Path | str) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", ACTS)
def test_every_file_of_acts_audits(path):
    assert {"record", "audit.record"} & calls(path), f"{path} changes state and puts nothing on record"


def writes_rows(path: Path) -> bool:
    return any(".objects." in call and call.rpartition(".")[2] in WRITES for call in calls(path))


NOT_ON_RECORD = {*(f"terminals/{name}.py" for name in ("preferences", "webhooks/queue", "lockout", "login_store"))}
"""What changes nobody's access, and changes all the time."""


def test_rows_are_written_by_acts_only():
    writers = {str(path) for path in SOURCES if writes_rows(path) and "migrations" not in path.parts}
    assert writers <= {*ACTS, *NOT_ON_RECORD, "tunnels/audit.py"}, "a new file of acts belongs into the table above"


def test_only_the_audit_writes_its_events():
    for path in SOURCES:
        if str(path) != "tunnels/audit.py" and "migrations" not in path.parts:
            assert not {"AuditEvent", "AuditEvent.objects.create"} & calls(path), path


# Docs

DOCS = [path for path in (BASE_DIR / "README.md", *sorted((BASE_DIR / "docs").glob("*.md"))) if path.is_file()]
ROW = re.compile(r"^\|\s*`([A-Z][A-Z_]+)`\s*\|\s*(.*?)\s*\|", re.MULTILINE)


def test_the_readmes_table_of_settings_is_that_of_the_code():
    readme = BASE_DIR / "README.md"
    assert readme.is_file(), "there is no README.md yet"
    table = dict(ROW.findall(readme.read_text()))
    assert table, "README.md has no table of settings: | `NAME` | default | meaning |"
    settings = {item.metadata["name"]: item.metadata["default"] for item in fields(Config)}
    assert set(table) == set(settings)
    for name, default in settings.items():
        if default:
            assert default in table[name].replace("`", ""), f"{name}: README says {table[name]}, the code {default}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_name_no_missing_file(path):
    text = path.read_text()
    links = [
        target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target and "mailto:" not in target
    ]
    missing = [target for target in links if not (path.parent / target).exists()]
    for name in re.findall(
        r"`((?:brokerd|tunnels|terminals|static|templates|tests|tools|docs|bench|deploy)/[\w./*-]+)`", text
    ):
        if not list(BASE_DIR.glob(name.rstrip("/"))):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_name_no_missing_test(path):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", path.read_text())
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (BASE_DIR / file).read_text()]
    assert missing == []
    assert named or path.name != "security.md", "the threat model names the tests that try it"


def test_there_is_something_to_read():
    assert {path.name for path in DOCS} >= {"README.md", "architecture.md", "security.md"}


# Channels


def test_no_message_of_a_terminal_hops_through_a_thread():
    """Channels' consumers dispatch each message through one (trap 18): the door is a plain ASGI coroutine."""
    assert "AsyncConsumer" not in " ".join(name for path in SOURCES for name in imports(path))
    assert not any(name.startswith("channels.generic") for path in SOURCES for name in imports(path))


def test_nothing_depends_on_the_channel_layer():
    """It drops messages without an error past a hundred (trap 11): the audit log is the feed, and it is polled."""
    senders = [path for path in SOURCES for call in calls(path) if call.endswith((".group_send", ".group_add"))]
    assert senders == []
