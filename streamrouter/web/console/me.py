"""What a member sees and does: only their own. Another's key or request is as unknown as one that never was (S13)."""

from __future__ import annotations

from typing import Any

from streamrouter.admin.desk import Text
from streamrouter.errors import Refusal
from streamrouter.web.console.answers import books, server
from streamrouter.web.console.configuration import surfaces_of
from streamrouter.web.console.money import Page, entries_of
from streamrouter.web.console.requests import OwnFilter, OwnReport, requests_of, usage_of
from streamrouter.web.console.route import Body, Context, Empty, Route

MOST_KEYS = 20  # active ones that a member may have made or been given; an admin may go beyond


class OwnKey(Body, frozen=True):
    """``surface`` left out is the first one."""

    surface: Text | None = None


async def me(context: Context) -> Any:
    """Who I am, what I may use and have used today, my keys."""
    user, who = context.user(), context.person
    [account] = await context.perform("user.overview", user=user)
    usage = account.pop("usage")
    return {
        "person": {"id": who.person_id, "name": who.name, "role": who.role, "user": user},
        "account": account,
        "usage": usage,
        "keys": await context.perform("key.list", user=user),
        "surfaces": surfaces_of(context.site.config()),
    }


async def key_created(context: Context) -> Any:
    wanted = {"user": context.user(), "surface": context.body.surface, "ref": context.ref}
    return await context.perform("key.create", **wanted, most=MOST_KEYS)


async def key_rotated(context: Context) -> Any:
    return await context.perform("key.rotate", id=await _own_key(context))


async def key_revoked(context: Context) -> Any:
    return await context.perform("key.revoke", id=await _own_key(context))


async def _own_key(context: Context) -> str:
    key_id = context.path["id"]
    if not any(key["id"] == key_id for key in await context.perform("key.list", user=context.user())):
        raise Refusal("not_found", "You have no such key.")
    return key_id


async def requests(context: Context) -> Any:
    return await requests_of(context, {"user": context.user()})


async def request(context: Context) -> Any:
    return await context.perform("requests.show", id=context.path["id"], user=context.user())


async def usage(context: Context) -> Any:
    return await usage_of(context, {"user": context.user()})


async def entries(context: Context) -> Any:
    return await entries_of(context, {"user": context.user()})


ROUTES = (
    Route("GET", "/me", "member", me, "My account, usage and keys", answer=server.Me),
    Route(
        "POST",
        "/me/keys",
        "member",
        key_created,
        "Make a key of mine",
        OwnKey,
        status=201,
        once=True,
        answer=books.MadeKey,
    ),
    Route(
        "POST", "/me/keys/{id}/rotate", "member", key_rotated, "Replace a key of mine", Empty, answer=books.NewSecret
    ),
    Route(
        "POST", "/me/keys/{id}/revoke", "member", key_revoked, "Refuse a key of mine", Empty, answer=books.RevokedKey
    ),
    Route("GET", "/me/requests", "member", requests, "My requests", query=OwnFilter, answer=books.Requests),
    Route("GET", "/me/requests/{id}", "member", request, "One request of mine explained", answer=books.Explained),
    Route("GET", "/me/usage", "member", usage, "My usage", query=OwnReport, answer=books.UsageReport),
    Route("GET", "/me/entries", "member", entries, "My money", query=Page, answer=books.Entries),
)
