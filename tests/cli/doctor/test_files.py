"""The ledger's place: mounts as the kernel tells them, real modes and files."""

from __future__ import annotations

import lzma
import os
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest

from streamrouter.cli.doctor import files

ROOT_LINE = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"


def mounted(place: str, kind: str) -> str:
    return f"{ROOT_LINE}36 21 0:32 / {place} rw,relatime shared:1 - {kind} server:/export rw,vers=4.2\n"


@pytest.mark.parametrize(
    ("place", "kind", "state"),
    [
        ("/srv/data", "nfs4", "problem"),
        ("/srv", "cifs", "problem"),
        ("/srv/data", "fuse.sshfs", "problem"),
        ("/srv/data", "xfs", "ok"),
        ("/srv/dat", "nfs4", "ok"),
        ("/srv/data/deeper", "nfs4", "ok"),
        ("/srv/data", "tmpfs", "warning"),
        ("/", "overlay", "warning"),
    ],
)
def test_the_file_system_is_the_closest_mount_above(place: str, kind: str, state: str) -> None:
    found = files.file_system("/srv/data/l.db", mounted(place, kind))
    assert found.state == state
    assert ("ledger.path" in found.remedy) is (state != "ok")


def test_a_mount_with_a_space_and_a_system_that_does_not_tell() -> None:
    found = files.file_system("/srv/my data/l.db", mounted("/srv/my\\040data", "nfs"))
    assert (found.state, "local disk" in found.remedy) == ("problem", True)
    assert files.file_system("/srv/l.db", None).state == "skipped"
    assert files.file_system("/dev/shm/l.db", files.MOUNTS.read_text()).state in ("warning", "ok")


def test_space(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    assert files.space(path, 0, 0).state == "ok"
    found = files.space(path, 1 << 60, 1 << 60)
    assert (found.state, "retain_holds_days" in found.remedy) == ("problem", True)
    assert files.space(path, 0, 1 << 60).state == "warning"
    assert "make the directory" in files.space(str(tmp_path / "none" / "l.db")).remedy


def test_permissions(tmp_path: Path) -> None:
    ledger, config = tmp_path / "l.db", tmp_path / "c.toml"
    uid = os.geteuid()
    (found,) = files.permissions(str(ledger), None, uid)
    assert found.state == "ok"
    for path in (ledger, tmp_path / "l.db-wal"):
        path.touch(0o644)
    (found,) = files.permissions(str(ledger), None, uid)
    assert found.state == "problem"
    assert found.remedy == f"chmod 600 {ledger} {ledger}-wal"
    for path in (ledger, tmp_path / "l.db-wal"):
        path.chmod(0o600)
    (found,) = files.permissions(str(ledger), None, uid + 1)
    assert (found.state, f"chown {uid + 1}" in found.remedy) == ("warning", True)
    config.write_text('[upstreams.a]\napi_key = "sk-secret"\n')
    config.chmod(0o644)
    told = list(files.permissions(str(ledger), str(config), uid))
    assert ([each.state for each in told], told[1].remedy) == (["ok", "warning"], f"chmod 600 {config}")
    config.write_text('[upstreams.a]\napi_key = "${KEY}"\n[upstreams.b]\napi_key = "file:/run/secrets/b"\n')
    assert len(list(files.permissions(str(ledger), str(config), uid))) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written() -> None:
    (found,) = files.permissions("/proc/l.db", None, os.geteuid())
    assert (found.state, "chown" in found.remedy) == ("problem", True)


def test_what_stands_where_the_ledger_should(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    assert "first start" in files.ledger_file(str(path), 7).found
    path.write_text("something else")
    assert "no SQLite file" in files.ledger_file(str(path), 7).found
    path.unlink()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA application_id = 8")
    raw.execute("CREATE TABLE a (b)")
    raw.close()
    found = files.ledger_file(str(path), 7)
    assert (found.state, "another program" in found.found, "ledger.path" in found.remedy) == ("problem", True, True)
    assert files.ledger_file(str(path), 8).state == "ok"
    assert files.ledger_file(str(tmp_path), 8).state == "problem"


def test_tokenizer_data_missing_and_damaged(tmp_path: Path) -> None:
    hashes = {"mine": sha256(b"ranks").hexdigest()}
    found = files.tokenizers(tmp_path, hashes)
    assert (found.state, "--force-reinstall" in found.remedy) == ("problem", True)
    file = tmp_path / "mine.tiktoken.xz"
    file.write_bytes(lzma.compress(b"other ranks"))
    assert "damaged" in files.tokenizers(tmp_path, hashes).found
    file.write_bytes(b"no xz")
    assert "damaged" in files.tokenizers(tmp_path, hashes).found
    file.write_bytes(lzma.compress(b"ranks"))
    assert files.tokenizers(tmp_path, hashes).state == "ok"
