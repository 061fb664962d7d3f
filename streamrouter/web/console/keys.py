"""API keys: made (the secret is shown this once), narrowed, rotated, revoked."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from streamrouter.admin.desk import Text
from streamrouter.admin.verbs import Concurrency, Models
from streamrouter.web.console.answers import books
from streamrouter.web.console.route import Body, Context, Route


class NewKey(Body, frozen=True):
    """Whose; ``surface`` left out is the first one, ``concurrency`` left out is the surface's own."""

    user: Text
    surface: Text | None = None
    models: Models | None = None
    concurrency: Concurrency | UnsetType | None = UNSET


class KeyChanges(Body, frozen=True):
    """What is left out stays; null takes the key's own list or cap away."""

    models: Models | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET


class Rotation(Body, frozen=True):
    """For how many seconds the old key stays good beside the new one."""

    grace_s: Annotated[int, Meta(ge=0, le=366 * 86_400)] = 0


class Revocation(Body, frozen=True):
    """``now`` also stops the streams that the key has open."""

    now: bool = False


async def listed(context: Context) -> Any:
    return {"data": await context.perform("key.list"), "next": None}


async def of_user(context: Context) -> Any:
    return {"data": await context.perform("key.list", user=context.path["user"]), "next": None}


async def created(context: Context) -> Any:
    return await context.perform("key.create", ref=context.ref, **context.given())


async def changed(context: Context) -> Any:
    return await context.perform("key.set", id=context.path["id"], **context.given())


async def rotated(context: Context) -> Any:
    return await context.perform("key.rotate", id=context.path["id"], **context.given())


async def revoked(context: Context) -> Any:
    return await context.perform("key.revoke", id=context.path["id"], **context.given())


ROUTES = (
    Route("GET", "/keys", "admin", listed, "Everybody's keys", answer=books.Keys),
    Route("GET", "/users/{user}/keys", "admin", of_user, "A user's keys", answer=books.Keys),
    Route("POST", "/keys", "admin", created, "Make a key", NewKey, status=201, once=True, answer=books.MadeKey),
    Route("PATCH", "/keys/{id}", "admin", changed, "Change a key's models or cap", KeyChanges, answer=books.Key),
    Route(
        "POST", "/keys/{id}/rotate", "admin", rotated, "Replace a key by a new one", Rotation, answer=books.NewSecret
    ),
    Route(
        "POST", "/keys/{id}/revoke", "admin", revoked, "Refuse a key from now on", Revocation, answer=books.RevokedKey
    ),
)
