"""Users: their caps, their day, whether they may do anything at all."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from streamrouter.admin.desk import Text
from streamrouter.admin.verbs import Cap, Models, Rate
from streamrouter.web.console.answers import books
from streamrouter.web.console.route import Body, Context, Empty, Route


class Caps(Body, frozen=True):
    """What is left out stays (or is the default of a new user); null is "no cap"."""

    input_per_request: Cap | UnsetType | None = UNSET
    output_per_request: Cap | UnsetType | None = UNSET
    daily_input: Cap | UnsetType | None = UNSET
    daily_output: Cap | UnsetType | None = UNSET
    requests_per_minute: Rate | UnsetType | None = UNSET
    models: Models | UnsetType | None = UNSET
    unlimited: bool | UnsetType = UNSET


class NewUser(Caps, frozen=True, kw_only=True):
    """A user and their caps."""

    user: Text


async def listed(context: Context) -> Any:
    """Every user with today's usage and the number of their active keys."""
    return {"data": await context.perform("user.overview"), "next": None}


async def created(context: Context) -> Any:
    return await context.perform("user.create", **context.given())


async def one(context: Context) -> Any:
    """One user, as in the list."""
    [found] = await context.perform("user.overview", user=context.path["user"])
    return found


async def changed(context: Context) -> Any:
    return await context.perform("user.set", user=context.path["user"], **context.given())


async def disabled(context: Context) -> Any:
    return await context.perform("user.disable", user=context.path["user"])


async def enabled(context: Context) -> Any:
    return await context.perform("user.enable", user=context.path["user"])


ROUTES = (
    Route("GET", "/users", "admin", listed, "Every user with today's usage", answer=books.Users),
    Route("POST", "/users", "admin", created, "Make a user", NewUser, status=201, answer=books.Account),
    Route("GET", "/users/{user}", "admin", one, "One user with today's usage", answer=books.User),
    Route("PATCH", "/users/{user}", "admin", changed, "Change a user's caps", Caps, answer=books.Account),
    Route(
        "POST", "/users/{user}/disable", "admin", disabled, "Refuse all of a user's keys", Empty, answer=books.Account
    ),
    Route("POST", "/users/{user}/enable", "admin", enabled, "Accept a user's keys again", Empty, answer=books.Account),
)
