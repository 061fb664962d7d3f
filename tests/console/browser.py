"""A real browser in front of a real server, and everything that a page may not do written down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, Dialog, Page, Request, Response, async_playwright, expect
from playwright.async_api import ConsoleMessage as Message

from tests.support.rig import Rig

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PASSWORD = "correct horse battery"
PATIENCE_MS = 10_000
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


class Desk:
    """One person's browser: a context with a page, and ``faults``: what happened in it that may not happen."""

    def __init__(self, rig: Rig, context: BrowserContext, page: Page) -> None:
        self.rig = rig
        self.root = rig.server.root
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self.refusals: list[str] = []
        page.on("dialog", self._dialog)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)

    async def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _console(self, message: Message) -> None:
        refused = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        if message.type in ("error", "warning") and not refused:  # a 4xx is in ``refusals``
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(self.root + "/"):
            self.faults.append(f"foreign: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.refusals.append(f"{response.status} {response.request.method} {response.url.removeprefix(self.root)}")

    async def open(self, path: str) -> Page:
        """Go to a page of the console and wait until it has its heading and nothing is loading."""
        await self.page.goto(f"{self.root}/console{path}")
        return await self.settled()

    async def settled(self) -> Page:
        await self.page.locator("h1").first.wait_for()
        await expect(self.page.locator("main .spin")).to_have_count(0)
        return self.page

    async def clean(self) -> None:
        """Nothing went wrong in this page since it was opened: no dialog, no violation, no error, nothing foreign."""
        self.faults += [f"policy: {directive}" for directive in await self.page.evaluate("window.violations")]
        assert not self.faults, "\n".join(self.faults)

    async def go(self, name: str) -> Page:
        """Follow a link of the navigation."""
        await self.page.get_by_role("navigation", name="Console").get_by_role("link", name=name, exact=True).click()
        await self.page.get_by_role("heading", level=1, name=name).wait_for()
        return await self.settled()

    async def fill(self, **fields: str) -> None:
        """Fill fields of the form (or the dialog) that is open, by their names."""
        for name, value in fields.items():
            field = self.page.locator(f'[name="{name}"]:visible')
            if await field.evaluate("field => field.tagName") == "SELECT":
                await field.select_option(value)
            else:
                await field.fill(value)

    async def press(self, name: str) -> None:
        """Press a button."""
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def confirm(self, name: str) -> None:
        """Press a button of the open dialog."""
        await self.page.locator("dialog[open]").get_by_role("button", name=name, exact=True).click()

    async def secret(self) -> str:
        """What is shown once, in the open dialog."""
        return str(await self.page.locator("dialog[open] [data-secret]").inner_text())

    async def close_dialog(self) -> None:
        await self.page.keyboard.press("Escape")
        await self.page.locator("dialog").wait_for(state="detached")


async def desk(browser: Browser, rig: Rig, **options: Any) -> Desk:
    """A new person at a browser of their own. ``options`` of the context: ``color_scheme``, ``viewport``, …"""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options})
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(_VIOLATIONS)
    return Desk(rig, context, await context.new_page())


async def set_up(of: Desk, name: str = "ada") -> None:
    """The first admin, by the link that the server printed."""
    await of.page.goto(of.rig.server.setup)
    await of.page.get_by_role("heading", name="Make the first admin").wait_for()
    await of.fill(name=name, password=PASSWORD, again=PASSWORD)
    await of.press("Make the admin")
    await of.page.get_by_role("heading", level=1, name="Overview").wait_for()


async def sign_in(of: Desk, name: str = "ada") -> None:
    """At the door."""
    await of.page.goto(f"{of.root}/console")
    await of.fill(name=name, password=PASSWORD)
    await of.press("Sign in")
    await of.page.get_by_role("navigation", name="Console").wait_for()
