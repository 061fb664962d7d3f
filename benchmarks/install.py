"""Gateways for the comparison, each in a directory of its own under ``.bench/``, pinned, from its package registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".bench"
INSTALL_TIMEOUT_S = 900.0
PACKAGES = {
    "litellm": "litellm[proxy]==1.106.2",
    "vllm-router": "vllm-router==0.1.17",
    "tensorzero": "tensorzero==2026.6.0",
}
PORTKEY = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    # Newer releases of these two answer every request with 500.
    "overrides": {"@hono/node-server": "1.13.5", "hono": "4.9.7"},
}


class Skipped(Exception):
    """A gateway cannot be had here; the text says why."""


def run(command: list[str], what: str, directory: Path) -> None:
    """Run to the end; raises Skipped with the last line of what it said if it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            timeout=INSTALL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.TimeoutExpired:
        raise Skipped(f"{what} took longer than {INSTALL_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise Skipped(f"{what}: {error}") from None
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.strip()]
        raise Skipped(f"{what} failed: {said[-1] if said else f'exit code {done.returncode}'}")


def pip(name: str) -> Path:
    """The ``bin`` of a venv that holds the package."""
    directory = HOME / name
    stamp = directory / "installed"
    if not stamp.exists() or stamp.read_text() != PACKAGES[name]:
        HOME.mkdir(exist_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(directory)], f"a venv for {name}", HOME)
        run([str(directory / "bin" / "pip"), "install", "-q", PACKAGES[name]], f"pip install {PACKAGES[name]}", HOME)
        stamp.write_text(PACKAGES[name])
    return directory / "bin"


def npm_portkey() -> Path:
    """Portkey's start script."""
    directory = HOME / "portkey"
    manifest = directory / "package.json"
    wanted = json.dumps(PORTKEY, indent=1)
    script = directory / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not script.exists() or not manifest.exists() or manifest.read_text() != wanted:
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise Skipped("node and npm are not installed")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        manifest.write_text(wanted)
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], "npm install", directory)
    return script


def nginx() -> Path:
    """nginx, from the system; installed with apt-get where that is there and we may."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise Skipped("nginx is not installed (Debian and Ubuntu: apt-get install nginx-light)")
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"], "apt-get", Path("/"))
        return nginx()
    return Path(found)


def version_of(command: list[str]) -> str:
    """The last word of what a version command says."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return done.stdout.split()[-1].rpartition("/")[2] if done.stdout.split() else "unknown"
