"""The REST API beside its OpenAPI document, by Schemathesis: whatever is asked, the answer is one that it describes.

As alice, who has a host and a session; bob, who has neither; and a stranger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from brokerd.api import api
from tests.story.broker import SCALE, Broker, copy_of_template

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SEED = """
from django.utils import timezone
from terminals.grants import create_grant
from terminals.people import find_person
from tests.people.helpers import make_host
from tests.replay.helpers import record
from tunnels.audit import OPERATOR
web1, alice = make_host("web1"), find_person("alice")
create_grant(person=alice, host=web1, logins=["root"], capabilities=["terminal", "share"], actor=OPERATOR)
print("session", record(alice, web1).pk)
"""
EXAMPLES = 5
"""Of each operation for each caller: a minute in all."""
WHO = ["alice", "bob", "stranger"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, dict[str, str]]]:
    """A broker, and what parameters of paths stand for there, so that not every answer is 404."""
    broker = copy_of_template(tmp_path_factory.mktemp("openapi") / "data")
    session = broker.do(SEED).split()[-1]
    broker.start()
    yield broker, {"name": "web1", "session_id": session}
    broker.stop()


def operations() -> list[Any]:
    # Schemathesis 4.32 rewrites prefixItems into what its own validator refuses: tuples are looked at as arrays.
    document = json.loads(
        json.dumps(api.get_openapi_schema(), default=str),
        object_hook=lambda part: {name: value for name, value in part.items() if name != "prefixItems"},
    )
    return [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_every_answer_is_as_described(stage: tuple[Broker, dict[str, str]], operation: Any):
    broker, known = stage
    base = f"http://127.0.0.1:{broker.web_port}"
    tokens = {name: {"Authorization": f"Bearer {broker.tokens[name]}"} for name in WHO[:-1]} | {"stranger": {}}

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        guessed = dict(case.path_parameters or {})
        for parameters in [guessed, {**guessed, **{name: known[name] for name in guessed if name in known}}]:
            case.path_parameters = parameters
            for who in WHO:
                case.call_and_validate(base_url=base, headers=tokens[who], checks=CHECKS, timeout=30 * SCALE)

    ask()
