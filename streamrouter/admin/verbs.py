"""The administration verbs, as one table: the command line, the control socket and the console all go through it.

A verb is a strict Struct of arguments (unknown fields are refused: nothing can be assigned by accident) and an async
function of the desk (ledger, config) and those arguments. What it returns is plain JSON: amounts are decimal strings,
integers that a double cannot hold are strings. A secret is in the result of ``key.create`` and ``key.rotate`` and
nowhere else.
"""

from __future__ import annotations

import difflib
import os
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streamrouter.admin.bookkeeping import BOOKKEEPING
from streamrouter.admin.browsing import BROWSING
from streamrouter.admin.desk import (
    AdminError,
    Args,
    Desk,
    Ref,
    StopStreams,
    Text,
    UserName,
    Verb,
    check_ref,
    find,
)
from streamrouter.admin.flights import FLIGHTS
from streamrouter.admin.pending import PENDING
from streamrouter.admin.people import PEOPLE
from streamrouter.admin.shown import account_shown, key_shown, usage_shown
from streamrouter.config.place import is_database
from streamrouter.config.schema import Config, SurfaceConfig
from streamrouter.errors import LedgerError, Refusal
from streamrouter.ledger import administration
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Account, EntryKind, Key
from streamrouter.policy.money import nano_to_usd, usd_to_nano
from streamrouter.policy.topups import terms_of

__all__ = ["VERBS", "AdminError", "Desk", "StopStreams", "Verb", "perform"]
Cap = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # as in the configuration: what every reader of JSON holds
Rate = Annotated[int, Meta(ge=1, le=60_000_000)]
Concurrency = Annotated[int, Meta(ge=1, le=1_000_000)]
Models = Annotated[list[Text], Meta(max_length=1000)]


class UserCaps(Args, frozen=True):
    """``user.create`` and ``user.set``: a cap left out keeps its default or its value; null is "no cap"."""

    user: Text
    input_per_request: Cap | UnsetType | None = UNSET
    output_per_request: Cap | UnsetType | None = UNSET
    daily_input: Cap | UnsetType | None = UNSET
    daily_output: Cap | UnsetType | None = UNSET
    requests_per_minute: Rate | UnsetType | None = UNSET
    models: Models | UnsetType | None = UNSET
    unlimited: bool | UnsetType = UNSET


class KeyCreate(Args, frozen=True):
    """``key.create``: ``models`` narrows the account's list; ``concurrency`` left out is the surface's own.

    ``ref`` makes it happen once: the same one again gives the key that it made, without its secret. ``most``: refused
    where the user has that many active keys.
    """

    user: Text
    surface: Text | None = None
    models: Models | None = None
    concurrency: Concurrency | UnsetType | None = UNSET
    ref: Ref | None = None
    most: Concurrency | None = None


class KeyList(Args, frozen=True):
    """``key.list``: the keys of one user, or everybody's."""

    user: Text | None = None


class KeySet(Args, frozen=True):
    """``key.set``: what is left out stays; null takes the key's own list or cap away."""

    id: Text
    models: Models | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET


class KeyRotate(Args, frozen=True):
    """``key.rotate``: ``grace_s``: for how many seconds the old key stays good beside the new one (at most a year)."""

    id: Text
    grace_s: Annotated[int, Meta(ge=0, le=366 * 86_400)] = 0


class KeyRevoke(Args, frozen=True):
    """``key.revoke``: ``now`` also stops the streams that the key has open."""

    id: Text
    now: bool = False


class TopUp(Args, frozen=True):
    """``topup``: ``amount`` in USD as a decimal string; ``ref`` makes it happen once however often it is sent."""

    user: Text
    amount: Text
    ref: Ref | None = None


_CAPS = UserCaps.__struct_fields__[1:]


async def perform(desk: Desk, verb: str, args: object) -> Any:
    """Carries out ``verb`` with ``args`` (a decoded JSON object) → a JSON-able result. Raises AdminError only."""
    entry = VERBS.get(verb)
    if entry is None:
        raise AdminError("unknown_verb", f"there is no verb {verb[:64]!r}{_nearest(verb, VERBS)}")
    try:
        decoded = msgspec.convert(args, entry.args)
    except msgspec.ValidationError as error:
        raise AdminError("invalid_arguments", f"{verb}: {error}") from None
    try:
        return await entry.run(desk, decoded)
    except Refusal as error:
        raise AdminError(error.code, error.message) from error
    except LedgerError as error:
        raise AdminError("ledger_unavailable", str(error)) from error
    except LookupError as error:
        if isinstance(error, (KeyError, IndexError)):  # a fault of ours, not a name that is unknown
            raise
        raise AdminError("not_found", str(error)) from error
    except ValueError as error:
        raise AdminError("invalid_value", str(error)) from error


async def _user_create(desk: Desk, args: UserCaps) -> dict[str, Any]:
    caps = {cap: getattr(desk.config.defaults, cap) for cap in _CAPS} | _caps(desk.config, args)
    return account_shown(await desk.ledger.create_account(args.user, caps, actor=desk.actor))


async def _user_list(desk: Desk, args: Args) -> list[dict[str, Any]]:
    return [account_shown(account) for account in await desk.ledger.accounts()]


async def _user_set(desk: Desk, args: UserCaps) -> dict[str, Any]:
    caps = _caps(desk.config, args)
    if not caps:
        raise ValueError("nothing to set: name at least one cap")
    return account_shown(await desk.ledger.set_account(args.user, caps, actor=desk.actor))


async def _user_disable(desk: Desk, args: UserName) -> dict[str, Any]:
    return account_shown(await desk.ledger.set_account_status(args.user, "disabled", actor=desk.actor))


async def _user_enable(desk: Desk, args: UserName) -> dict[str, Any]:
    return account_shown(await desk.ledger.set_account_status(args.user, "active", actor=desk.actor))


async def _key_create(desk: Desk, args: KeyCreate) -> dict[str, Any]:
    account = await find(desk.ledger, args.user)
    surface = _surface(desk.config, args.surface)
    _check_models(desk.config, args.models)
    concurrency = surface.concurrency if args.concurrency is UNSET else args.concurrency
    check_ref(args.ref)
    wanted = (account.name, surface.name, surface.key_prefix, args.models, concurrency, args.ref, args.most)
    key, secret = await desk.ledger.act(administration.create_key, *wanted, actor=desk.actor)
    warnings = _key_warnings(account, args.models)
    return {**key_shown(key, account.name), "key": secret or None, "repeated": not secret, "warnings": warnings}


async def _key_list(desk: Desk, args: KeyList) -> list[dict[str, Any]]:
    account_id = None if args.user is None else (await find(desk.ledger, args.user)).id
    names = {account.id: account.name for account in await desk.ledger.accounts()}
    return [key_shown(key, names[key.account_id]) for key in await desk.ledger.keys(account_id)]


async def _key_set(desk: Desk, args: KeySet) -> dict[str, Any]:
    given = {"models": args.models, "concurrency": args.concurrency}
    changes = {name: value for name, value in given.items() if value is not UNSET}
    if not changes:
        raise ValueError("nothing to set: name models or concurrency")
    if isinstance(args.models, list):
        _check_models(desk.config, args.models)
    user, _ = await _find_key(desk.ledger, args.id)
    return key_shown(await desk.ledger.act(administration.set_key, args.id, changes, actor=desk.actor), user)


async def _key_revoke(desk: Desk, args: KeyRevoke) -> dict[str, Any]:
    user, _ = await _find_key(desk.ledger, args.id)
    key = await desk.ledger.revoke_key(args.id, actor=desk.actor)
    stopped = desk.stop_streams(key.id) if args.now and desk.stop_streams is not None else 0
    if args.now and is_database(desk.ledger.path):  # the others hear of it within a second or two
        await desk.ledger.act(administration.stop_key, key.id, actor=desk.actor)
    return {**key_shown(key, user), "streams_stopped": stopped}


async def _key_rotate(desk: Desk, args: KeyRotate) -> dict[str, Any]:
    user, old = await _find_key(desk.ledger, args.id)
    surface = _surface(desk.config, old.surface)
    key, secret = await desk.ledger.rotate_key(args.id, surface.key_prefix, args.grace_s, actor=desk.actor)
    return {**key_shown(key, user), "key": secret}


async def _topup(desk: Desk, args: TopUp) -> dict[str, Any]:
    check_ref(args.ref)
    account = await find(desk.ledger, args.user)
    surfaces = {key.surface for key in await desk.ledger.keys(account.name) if key.status == "active"}
    bill = terms_of(desk.config.surface, surfaces).bill(usd_to_nano(args.amount))
    entries: list[tuple[EntryKind, int]] = [("payment", bill.payment)]
    if bill.fee:
        entries.append(("fee", -bill.fee))
    done = await desk.ledger.credit(account.name, entries, args.ref, actor=desk.actor)
    paid = sum(entry.amount for entry in done.entries if entry.kind == "payment")
    credited = sum(entry.amount for entry in done.entries)
    return {
        "user": account.name,
        "paid_usd": nano_to_usd(paid),
        "fee_usd": nano_to_usd(paid - credited),
        "credited_usd": nano_to_usd(credited),
        "balance_usd": nano_to_usd(done.account.credited - done.account.spent),
        "ref": args.ref,
        "repeated": done.repeated,
    }


async def _usage(desk: Desk, args: UserName) -> dict[str, Any]:
    return usage_shown(await desk.ledger.usage(args.user))


async def _status(desk: Desk, args: Args) -> dict[str, Any]:
    return {"pid": os.getpid(), "health": desk.ledger.health(), "queue_length": desk.ledger.queue_length}


VERBS: dict[str, Verb] = {
    "user.create": Verb(UserCaps, _user_create),
    "user.list": Verb(Args, _user_list),
    "user.set": Verb(UserCaps, _user_set),
    "user.disable": Verb(UserName, _user_disable),
    "user.enable": Verb(UserName, _user_enable),
    "key.create": Verb(KeyCreate, _key_create),
    "key.list": Verb(KeyList, _key_list),
    "key.set": Verb(KeySet, _key_set),
    "key.revoke": Verb(KeyRevoke, _key_revoke),
    "key.rotate": Verb(KeyRotate, _key_rotate),
    "topup": Verb(TopUp, _topup),
    "usage": Verb(UserName, _usage),
    "status": Verb(Args, _status),
    **BOOKKEEPING,
    **PEOPLE,
    **BROWSING,
    **FLIGHTS,
    **PENDING,
}


def _caps(config: Config, args: UserCaps) -> dict[str, Any]:
    """The caps that were named, checked against the configuration."""
    caps = {cap: value for cap in _CAPS if (value := getattr(args, cap)) is not UNSET}
    _check_models(config, caps.get("models"))
    return caps


def _check_models(config: Config, models: list[str] | None) -> None:
    """A typo in an allow-list would refuse requests without a word: an id must be one of the configured models.

    Ids that end in ``:free`` pass, because an upstream may offer such models under any name (docs/dialects.md).
    """
    for model in models or ():
        if model not in config.models and not model.endswith(":free"):
            raise ValueError(f"the configuration has no model {model!r}{_nearest(model, config.models)}")


def _surface(config: Config, name: str | None) -> SurfaceConfig:
    if name is None:
        return config.surface[0]
    by_name = {surface.name: surface for surface in config.surface}
    if name not in by_name:
        raise ValueError(f"the configuration has no surface {name!r}{_nearest(name, by_name)}")
    return by_name[name]


def _key_warnings(account: Account, models: list[str] | None) -> list[str]:
    """What is allowed, and may still surprise whoever uses the key."""
    warnings = []
    if account.status == "disabled":
        warnings.append(f"{account.name} is disabled: the key works after `streamrouter user enable {account.name}`")
    if account.models is not None and (outside := [model for model in models or () if model not in account.models]):
        warnings.append(f"{account.name} may not use {', '.join(outside)}: a key only narrows its user's list")
    return warnings


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known)[:20]) or 'none'}"


async def _find_key(ledger: Ledger, key_id: str) -> tuple[str, Key]:
    """The name of the user that the key belongs to, and the key."""
    names = {account.id: account.name for account in await ledger.accounts()}
    for key in await ledger.keys():
        if key.id == key_id:
            return names[key.account_id], key
    raise LookupError(f"there is no key {key_id!r}; `streamrouter key list NAME` shows a user's keys")
