"""What a start does for the console: it makes the one-time set-up link, or refuses an address that is too open for it.

Whoever reaches the console first must not become its admin by that. The link is told on the terminal alone, and until
somebody has used it the server listens on this machine only.
"""

from __future__ import annotations

import ipaddress

from streamrouter.admin.people import SETUP_PAGE
from streamrouter.config.load import Loaded
from streamrouter.errors import ConfigError
from streamrouter.ledger import people
from streamrouter.ledger.ledger import Ledger

PAGE = "/console"


async def console_page(loaded: Loaded, ledger: Ledger, host: str) -> str | None:
    """The page to show: a new set-up link's (the last start's is dead), or ``/console`` once there is an admin.

    None: the console is switched off. ConfigError where there is no admin yet and ``host`` is not this machine's own.
    """
    if not loaded.config.console.enabled:
        return None
    secret = await ledger.act(people.new_setup)
    if not secret:
        return PAGE
    if not is_loopback(host):
        raise ConfigError(
            f"{loaded.source}: server.host: {host} can be reached from other machines, and the console has no admin "
            "yet; make one first (`streamrouter admin create NAME`), or set [console] enabled = false"
        )
    return SETUP_PAGE + secret


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address that is listened on."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
