"""Markup and naughty strings in every field that a person or a model can fill are text, and nothing but text (S32)."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.browser import Desk, desk, sign_in
from tests.support.rig import Rig, call
from tests.support.upstream import DONE, Seen, delta, event, usage

pytestmark = pytest.mark.asyncio(loop_scope="package")
IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "</title></textarea><script>alert(2)</script>"
NAUGHTY = [
    IMAGE,
    SCRIPT,
    '"><svg/onload=alert(3)>',
    "javascript:alert(4)",
    "${alert(5)} {{constructor.constructor('alert(6)')()}}",
    "=cmd|' /C calc'!A0",
    "\u202etxt.exe\u202c \u200b\ufeff \U0001f469\u200d\U0001f469\u200d\U0001f467",
    "Z\u0351\u036b\u0343a\u0363\u034al\u0336g\u0310o",
    "\ufdfd" * 40 + "W" * 300,
    '{"type": "script", "props": {"dangerouslySetInnerHTML": {"__html": "x"}}}',
    "&lt;b&gt; &amp;amp; %3Cscript%3E",
]
PAGES = [
    "/",
    "/streams",
    "/requests",
    "/users",
    "/ledger",
    "/ledger?view=requests",
    "/models",
    "/people",
    "/playground",
]
PAGES += ["/connect", "/me", "/settings", "/nowhere"]


async def _speaks_markup(seen: Seen) -> None:
    """An answer whose every text is hostile, in content, reasoning, refusal and a finish_reason that nobody knows."""
    await seen.head_sse()
    for text in NAUGHTY:
        await seen.chunk(delta(text, reasoning_content=text))
    await seen.chunk(event({"choices": [{"index": 0, "delta": {"refusal": SCRIPT}, "finish_reason": None}]}))
    await seen.chunk(event({"choices": [{"index": 0, "delta": {}, "finish_reason": IMAGE}]}))
    await seen.chunk(event({"choices": [], "usage": usage(7, 20)}))
    await seen.chunk(DONE)
    await seen.end()


async def _fails_with_markup(seen: Seen) -> None:
    await seen.json({"error": {"message": SCRIPT, "code": IMAGE, "type": IMAGE}}, "400 Bad Request")


@pytest.fixture(scope="module")
def filled(site: Rig) -> Rig:
    """The books and the lists, with what the rules let in of all this."""
    site.admin("user.set", user="default", unlimited=True)
    for number, text in enumerate(text for text in NAUGHTY if text.isascii() and len(text) < 200):
        site.admin("topup", user="default", amount="1", ref=f"{number} {text}"[:255])
    return site


async def test_what_people_fill_in_is_text(filled: Rig, admin: Desk) -> None:
    page = await admin.open("/people")
    for text in NAUGHTY[:8]:
        await admin.press("New token")
        await admin.fill(name=text[:64])
        await admin.confirm("Make the token")
        await page.locator("dialog [data-secret], dialog [role=alert]").first.wait_for()
        await admin.close_dialog()
    await expect(page.get_by_role("table", name="Tokens")).to_contain_text(IMAGE)
    for text in NAUGHTY[:2]:
        await admin.press("Invite somebody")
        await admin.fill(name=text[:64], user=text[:64])
        await admin.confirm("Make the link")
        await page.locator("dialog [data-secret], dialog [role=alert]").first.wait_for()
        await admin.close_dialog()
    await admin.open("/users")
    for text in NAUGHTY[:3]:
        await admin.press("New user")
        await admin.fill(user=text[:256])
        await admin.confirm("Make the user")
        await expect(page.locator("dialog [role=alert]")).to_contain_text("name")
        await admin.close_dialog()
    await admin.clean()


async def test_what_a_model_says_is_text(filled: Rig, admin: Desk) -> None:
    filled.upstream.script = _speaks_markup
    page = await admin.open("/playground")
    await admin.fill(secret=filled.server.key)
    await admin.press("Use it")
    for text in NAUGHTY[:2]:
        await page.get_by_placeholder("Say something").fill(text)
        await expect(page.get_by_role("button", name="Send")).to_be_enabled()  # the models are there
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Stream inspector")).to_contain_text("Explain this charge")
    await expect(page.locator(".turn.user").first).to_contain_text(IMAGE)
    await expect(page.locator(".turn.assistant").last).to_contain_text(NAUGHTY[-1])
    await page.get_by_text("Raw events").click()
    await page.get_by_text("The same in code").click()
    for language in ("curl", "Python", "Node"):
        await admin.press(language)
        await expect(page.locator(".snippet pre").last).to_contain_text("onerror")
    filled.upstream.script = _fails_with_markup
    await page.get_by_placeholder("Say something").fill("again")
    await expect(page.get_by_role("button", name="Send")).to_be_enabled()  # the models are there
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Stream inspector")).to_contain_text("failed")
    await admin.clean()


async def test_what_stands_in_an_address_is_text(admin: Desk) -> None:
    quoted = "%3Cimg%20src%3Dx%20onerror%3Dalert(7)%3E"
    for path in (
        f"/requests?user={quoted}&model={quoted}&since={quoted}&cursor={quoted}",
        f"/requests/{quoted}",
        f"/users/{quoted}",
        f"/ledger?user={quoted}&view={quoted}",
        f"/connect?model={quoted}&surface={quoted}&client={quoted}",
        f"/?range={quoted}",
        f"/setup#t={quoted}",
        f"/join#t={quoted}",
        f"/{quoted}#{quoted}",
    ):
        page = await admin.open(path)
        assert "t=" not in page.url.partition("#")[2]
        await admin.clean()


async def test_every_page_stays_quiet_with_all_of_it(filled: Rig, browser: Browser, admin: Desk) -> None:
    """Another visit, with a browser that calls itself a script; the links that people were given are opened too."""
    visitor = await desk(browser, filled, user_agent=SCRIPT)
    await sign_in(visitor)
    await (await filled.client.post(filled.server.url + "/nowhere" + IMAGE, json=call())).read()
    for path in PAGES:
        await visitor.open(path)
        await visitor.clean()
    page = await visitor.open("/settings")
    await expect(page.get_by_role("table")).to_contain_text("<script>alert(2)")
    page = await visitor.open("/ledger")
    await expect(page.get_by_role("table")).to_contain_text(IMAGE)
    page = await visitor.open("/models")
    await expect(page.get_by_role("table", name="Models")).to_contain_text("<script>alert('name')</script>")
    assert await _made_of_text(page) == 0
    await visitor.clean()
    await admin.clean()


async def _made_of_text(page: Page) -> int:
    """How many elements a markup of NAUGHTY would have made."""
    return int(await page.evaluate("document.querySelectorAll('img[onerror], svg[onload], main script').length"))
