"""Ground of all tests: a private data directory, a database file of its own, and the people of every story.

alice has what she was granted, bob is in her team, charlie must be refused; admin and auditor by role. The environment
is set before Django loads, which is why pyproject.toml names no settings module: pytest-django would load it first.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import django
import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from brokerd.conf import NOT_YET

DATA_DIR = Path(tempfile.mkdtemp(prefix="brokerd-test-"))  # mkdtemp makes it 0700
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("BROKERD_") or name in NOT_YET]:
    del os.environ[_name]
os.environ["BROKERD_DATA_DIR"] = str(DATA_DIR)
os.environ["DJANGO_SETTINGS_MODULE"] = "brokerd.settings"

django.setup()
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
# How long an example takes is the machine's affair, and no reason to fail.
hypothesis.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("any machine")

from django.contrib.auth.models import Group  # noqa: E402

from terminals.models import AUDITORS, Person  # noqa: E402
from tunnels import clock  # noqa: E402

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def django_db_modify_db_settings():
    """A file, not memory: threads and subprocesses must meet the same locks as in production."""
    settings.DATABASES["default"]["TEST"]["NAME"] = str(DATA_DIR / "test.sqlite3")


@pytest.fixture(autouse=True)
def todays_clock():
    """The times that another test made its own are no reason for this one to be late."""
    clock.forget()


def make_person(name: str, **facts) -> Person:
    return Person.objects.create_user(name, password=PASSWORD, **facts)


@pytest.fixture
def alice(db) -> Person:
    return make_person("alice")


@pytest.fixture
def bob(db) -> Person:
    return make_person("bob")


@pytest.fixture
def charlie(db) -> Person:
    return make_person("charlie")


@pytest.fixture
def admin(db) -> Person:
    return make_person("admin", is_superuser=True, is_staff=True)


@pytest.fixture
def auditor(db) -> Person:
    person = make_person("auditor")
    person.groups.add(Group.objects.get_or_create(name=AUDITORS)[0])
    return person
