"""The door of the console: passwords are hashed and compared here, slowly on purpose, and few at once (S12).

Whoever gets it wrong waits, longer each time, by name and by address. A name that does not exist costs what one that
does costs: a hash of the same parameters is compared with, and the same words are the answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

from streamrouter.clock import Clock
from streamrouter.errors import Refusal
from streamrouter.policy import passwords
from streamrouter.policy.delays import Delays

T = TypeVar("T")
HASHES_AT_ONCE = 2  # 32 MiB each
_WAITING = 32  # more than these are told to come back
_ADDRESS_FREE = 10  # mistakes of one address that cost nothing: an office has one


class Door:
    """One per server. ``cost``: scrypt's parameters."""

    def __init__(self, clock: Clock, cost: passwords.Cost | None = None) -> None:
        self._clock = clock
        self._cost = cost or passwords.Cost()
        self._names = Delays()
        self._addresses = Delays(free=_ADDRESS_FREE)
        self._turn = asyncio.Semaphore(HASHES_AT_ONCE)
        self._waiting = 0
        self._nobody = ""  # what a name without a password is compared with

    async def encode(self, password: str) -> str:
        """What is kept of a password. Refusal ``too_many_attempts`` where too many wait for their turn."""
        return await self._in_turn(passwords.encode, password, os.urandom(passwords.SALT_BYTES), self._cost)

    async def verify(self, password: str, encoded: str | None) -> bool:
        """Whether that is the password. None: there is none, which takes as long to say."""
        if not self._nobody:
            self._nobody = await self.encode("nobody")
        same = await self._in_turn(passwords.verify, password, encoded or self._nobody)
        return same and encoded is not None

    def outdated(self, encoded: str) -> bool:
        """Whether a password should be hashed anew, now that it is known."""
        return passwords.outdated(encoded, self._cost)

    def knock(self, name: str, address: str) -> None:
        """A try begins: a mistake until ``welcome``. Refusal ``too_many_attempts`` says how long to wait."""
        if self._waiting >= _WAITING:  # before it counts: nobody would look at the password
            raise _later(1)
        now = self._clock.monotonic()
        names, addresses = [name.lower()], [_place(address)]
        wait = max(self._names.wait_s(names, now), self._addresses.wait_s(addresses, now))
        if wait > 0:
            raise _later(math.ceil(wait))
        self._names.failed(names, now)
        self._addresses.failed(addresses, now)

    def welcome(self, name: str, address: str) -> None:
        """It was right: the name's earlier mistakes are forgotten. The address's are not, or one good password would
        let somebody try all others."""
        self._names.forgiven(name.lower())
        self._addresses.taken_back(_place(address))

    async def _in_turn(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._waiting >= _WAITING:
            raise _later(1)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def _place(address: str) -> str:
    """What one household has: an IPv4 address, or the first half of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else str(found)


def _later(seconds: int) -> Refusal:
    return Refusal("too_many_attempts", f"Too many attempts. Try again in {seconds} s.", retry_after_s=seconds)
