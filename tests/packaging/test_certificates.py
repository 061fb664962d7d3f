"""The one file finds the machine's certificates wherever the system keeps them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

HOOK = runpy.run_path(str(ROOT / "deploy" / "binary" / "certificates.py"))
variables = HOOK["variables"]
NOWHERE = ("SSL_CERT_FILE", "/nowhere/cert.pem", "SSL_CERT_DIR", "/nowhere/certs")


def test_where_openssl_finds_them_nothing_changes(tmp_path: Path) -> None:
    assert variables("SSL_CERT_FILE", "/nowhere", "SSL_CERT_DIR", str(tmp_path), given={}) == {}


def test_elsewhere_it_is_told(tmp_path: Path) -> None:
    bundle = tmp_path / "ca-bundle.crt"
    bundle.touch()
    assert variables(*NOWHERE, given={}, known=("/nowhere/a", str(bundle))) == {"SSL_CERT_FILE": str(bundle)}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_is_given_goes_before(name: str) -> None:
    assert variables(*NOWHERE, given={name: "x"}, known=()) == {}


def test_at_last_it_is_the_list_that_was_built_in() -> None:
    assert variables(*NOWHERE, given={}, known=()) == {"SSL_CERT_FILE": HOOK["BUILT_IN"]}


def test_that_list_is_in_the_file(binary: Path) -> None:
    assert b"certifi/cacert.pem" in binary.read_bytes()
