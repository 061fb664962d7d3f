"""Tracing is opened only where it is wanted, and says what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamrouter.errors import ConfigError
from streamrouter.ops.tracing import open_tracing


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_opentelemetry_is_imported_only_when_tracing_is_opened() -> None:
    code = """
import sys, streamrouter.app, streamrouter.ops.tracing
print(any(name.startswith("opentelemetry") for name in sys.modules))
streamrouter.ops.tracing.open_tracing({}).close()
print("opentelemetry.sdk.trace" in sys.modules)
"""
    assert python(code).split() == ["False", "True"]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "streamrouter.ops.otel"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # what an import of it finds where it is not installed
    with pytest.raises(ConfigError, match=r"pip install 'streamrouter\[otel\]'"):
        open_tracing({})
