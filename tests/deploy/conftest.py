"""A broker as it runs in earnest: on loopback, behind a proxy that speaks TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.broker import Broker, free_port, running
from tests.story.machine import Machine, terminal_host

NAME = "broker.example"


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def broker(tls_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    proxies = "127.0.0.1/32,127.1.0.0/16"  # and machines, which ask it themselves
    public = {"BROKERD_PUBLIC_URL": f"https://{NAME}:{tls_port}", "BROKERD_TRUSTED_PROXIES": proxies}
    with running(tmp_path_factory.mktemp("proxied") / "data", **public) as running_broker:
        yield running_broker


@pytest.fixture(scope="module")
def web1(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with terminal_host(tmp_path_factory.mktemp("machines"), "web1", broker) as made:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `fullchain.pem` and `privkey.pem` for the broker's name, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(["openssl", "req", *options, *name, *files], check=True, capture_output=True)
    return folder
