"""The ledger's place and the package's data: file system, permissions, space, what stands there, tokenizer ranks."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from streamrouter.cli.doctor.finding import Finding, ok, problem, warning

MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "glusterfs",
        "beegfs",
        "gfs2",
        "ocfs2",
        "vboxsf",
        "drvfs",
    )
)
_NETWORK_FUSE = frozenset(("sshfs", "glusterfs", "s3fs", "rclone", "gcsfuse", "blobfuse", "ceph-fuse", "davfs"))
_GONE = {
    "tmpfs": "is in memory: it is gone with the machine",
    "ramfs": "is in memory: it is gone with the machine",
    "overlay": "is a container's own layer: it is gone with the container",
}
_LITTLE_BYTES = 64 << 20
_SOME_BYTES = 1 << 30
_SQLITE = b"SQLite format 3\0"
_APPLICATION_AT = 68
_KEY = re.compile(
    r'^\s*(?:api_key\s*=\s*"(?!\$\{|file:)[^"]|path\s*=\s*"postgres(?:ql)?://[^"@]*:(?!\$\{)[^"]*@)', re.M
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system(path: str, mounts: str | None) -> Finding:
    """What the ledger's directory is on; ``mounts``: the text of /proc/self/mountinfo, None where there is none."""
    directory = os.path.dirname(os.path.realpath(path))
    if mounts is None:
        return Finding("file system", "skipped", "this system does not tell")
    kind = _kind_of(directory, mounts)
    if kind in _NETWORK or kind.removeprefix("fuse.") in _NETWORK_FUSE:
        remedy = "put the ledger on a local disk (ledger.path): SQLite's locks and WAL do not hold over a network"
        return problem("file system", f"{directory} is on a network file system ({kind})", remedy)
    if kind in _GONE:
        remedy = "set ledger.path to a directory on a disk (in a container: a volume)"
        return warning("file system", f"{directory} {_GONE[kind]} ({kind})", remedy)
    return ok("file system", f"{directory} is local ({kind})")


def _kind_of(directory: str, mounts: str) -> str:
    """The type of the file system that is mounted closest above ``directory``; the last mount of a place counts."""
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        fields, separator, rest = line.partition(" - ")
        if not separator or len(fields.split(" ")) < 5:
            continue
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields.split(" ")[4])
        inside = directory == place or directory.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, rest.split(" ")[0]
    return kind


def space(path: str, little: int = _LITTLE_BYTES, some: int = _SOME_BYTES) -> Finding:
    """What is free beside the ledger; below ``little`` bytes is a problem, below ``some`` a warning."""
    directory = os.path.dirname(os.path.realpath(path))
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return problem("disk space", f"{directory}: {error.strerror}", "make the directory, or set another ledger.path")
    found = f"{free / (1 << 20):,.0f} MiB free in {directory}"
    remedy = "free some space, or set ledger.retain_holds_days; a request that cannot be booked is refused with 503"
    if free < little:
        return problem("disk space", found, remedy)
    return warning("disk space", found, remedy) if free < some else ok("disk space", found)


def permissions(ledger: str, config: str | None, uid: int) -> Iterator[Finding]:
    """Who may read and write the ledger (and the configuration, which may hold keys). ``uid``: who we are."""
    path = os.path.realpath(ledger)
    directory = os.path.dirname(path)
    if not os.access(directory, os.W_OK | os.X_OK):
        remedy = f"let the user that runs streamrouter write there: chown it, or set another ledger.path (uid {uid})"
        yield problem("permissions", f"{directory} cannot be written", remedy)
        return
    wide = [found for found in _there(path) if stat.S_IMODE(os.stat(found).st_mode) & 0o077]
    foreign = [found for found in _there(path) if uid and os.stat(found).st_uid != uid]  # root may do all
    if wide:
        modes = ", ".join(f"{found} {stat.S_IMODE(os.stat(found).st_mode):04o}" for found in wide)
        yield problem("permissions", f"others may read the ledger: {modes}", f"chmod 600 {' '.join(wide)}")
    if foreign:
        owners = ", ".join(f"{found} (uid {os.stat(found).st_uid})" for found in foreign)
        remedy = f"run streamrouter as its owner, or: chown {uid} {' '.join(foreign)}"
        yield warning("permissions", f"the ledger is another user's: {owners}", remedy)
    if not wide and not foreign:
        yield ok("permissions", "the ledger is ours alone" if os.path.exists(path) else f"{directory} can be written")
    yield from readable(config)


def readable(config: str | None) -> Iterator[Finding]:
    """Whether a configuration with a key or a password in it is for its owner's eyes alone."""
    if config is not None and stat.S_IMODE(os.stat(config).st_mode) & 0o044 and _holds_a_key(Path(config)):
        yield warning("permissions", f"{config} holds a key, and others may read it", f"chmod 600 {config}")


def _there(path: str) -> list[str]:
    return [path + ending for ending in ("", "-wal", "-shm", ".lock") if os.path.exists(path + ending)]


def _holds_a_key(config: Path) -> bool:
    """Whether a key or a URL's password is written out: one from the environment or a file of its own is none."""
    return _KEY.search(config.read_text(errors="replace")) is not None


def ledger_file(path: str, application_id: int) -> Finding:
    """Whether what stands there is a ledger, by its first bytes: opening it would change it."""
    try:
        with open(path, "rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return ok("ledger", f"{path} will be made at the first start")
    except OSError as error:
        return problem("ledger", f"{path}: {error.strerror}", "it must be a file that this user may read and write")
    if head and not head.startswith(_SQLITE):
        return problem("ledger", f"{path} is no SQLite file", "restore a backup, or set another ledger.path")
    if int.from_bytes(head[_APPLICATION_AT : _APPLICATION_AT + 4], "big") not in (application_id, 0):
        return problem("ledger", f"{path} is another program's database", "set another ledger.path")
    return ok("ledger", path)


def tokenizers(folder: Path, hashes: Mapping[str, str]) -> Finding:
    """The rank files of the package, by the SHA-256 of what is in them."""
    for name, expected in hashes.items():
        file = folder / f"{name}.tiktoken.xz"
        remedy = "install streamrouter again: pip install --force-reinstall streamrouter"
        try:
            found = hashlib.sha256(lzma.decompress(file.read_bytes())).hexdigest()
        except OSError as error:
            return problem("tokenizers", f"{file}: {error.strerror}; nothing can be counted exactly", remedy)
        except lzma.LZMAError:
            found = ""
        if found != expected:
            return problem("tokenizers", f"{file} is damaged", remedy)
    return ok("tokenizers", ", ".join(hashes))
