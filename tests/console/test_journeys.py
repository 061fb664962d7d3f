"""The console's first hour, in a real browser: set-up, user, key, stream, books, a member; and stopping a stream."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, expect

from tests.console.browser import PASSWORD, Desk, desk, sign_in
from tests.support.rig import Rig, call
from tests.support.upstream import DONE, Seen, delta, streamed

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_from_the_first_start_to_a_member_with_a_key_of_their_own(
    site: Rig, browser: Browser, admin: Desk
) -> None:
    site.upstream.script = streamed(["Every", " token", " is", " counted", "."], pace_s=0.02)
    page = admin.page
    assert "#" not in page.url  # the token left the address
    assert await page.evaluate("location.hash + performance.getEntriesByType('navigation')[0].name.includes('t=')")
    await expect(page.get_by_text("No requests in this time")).to_be_visible()

    await admin.go("Users & keys")
    await admin.press("New user")
    await admin.fill(user="team-a")
    await admin.confirm("Make the user")
    await page.get_by_role("heading", level=1, name="team-a").wait_for()
    await admin.press("New key")
    await admin.confirm("Make the key")
    first = await admin.secret()
    assert first.startswith("sk-")
    await admin.close_dialog()
    assert await page.get_by_text(first).count() == 0  # shown once

    await admin.go("Ledger")
    await admin.press("Top up")
    await page.locator("dialog select").select_option(label="team-a ($0)")
    await admin.fill(amount="25")
    await admin.confirm("Top up")
    await expect(page.get_by_role("table").get_by_text("payment")).to_be_visible()

    await admin.go("Playground")
    await admin.fill(secret=first)
    await admin.press("Use it")
    await page.get_by_placeholder("Say something").fill("Hello!")
    await expect(page.get_by_role("button", name="Send")).to_be_enabled()  # the models are there
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn.assistant")).to_contain_text("Every token is counted.")
    inspector = page.get_by_label("Stream inspector")
    await expect(inspector).to_contain_text("done")
    await expect(inspector).to_contain_text("Explain this charge")  # settled
    await page.get_by_text("Raw events").click()
    await expect(inspector.locator("pre")).to_contain_text("[DONE]")

    await page.get_by_role("link", name="The request", exact=True).click()
    await page.get_by_role("heading", level=1, name="Request").wait_for()
    request_id = page.url.rpartition("/")[2]
    await expect(page.get_by_role("img", name="Waterfall")).to_be_visible()
    await expect(page.get_by_text("settled", exact=True)).to_be_visible()
    await admin.go("Requests")
    row = page.get_by_role("row").filter(has_text="team-a")
    await expect(row).to_contain_text("finished")
    assert request_id in str(await row.get_by_role("link").first.get_attribute("href"))
    await admin.go("Ledger")
    await admin.press("Hold → settle")
    pair = page.get_by_role("row").filter(has_text=request_id)
    await expect(pair).to_contain_text("settled")
    await pair.get_by_role("button", name="Explain").click()
    await expect(page.locator("dialog")).to_contain_text("pico-USD")
    await admin.close_dialog()

    await admin.go("People")
    await admin.press("Invite somebody")
    await admin.fill(name="grace", role="member", user="team-a")
    await admin.confirm("Make the link")
    link = await admin.secret()
    await admin.close_dialog()
    await admin.clean()
    assert admin.refusals == []
    await _member(site, await desk(browser, site), link, first)


async def _member(site: Rig, member: Desk, link: str, first: str) -> None:
    """By invitation to a key of their own; the old one is over."""
    page = member.page
    await page.goto(link)
    await page.get_by_role("heading", name="Join").wait_for()
    assert "#" not in page.url
    await member.fill(password=PASSWORD, again=PASSWORD)
    await member.press("Join")
    await page.get_by_role("heading", level=1, name="My key").wait_for()
    assert await page.get_by_role("navigation").get_by_role("link").all_inner_texts() == [
        "streamrouter",
        *("My key", "Requests", "Playground", "Connect", "Settings"),
    ]
    await member.press("Regenerate")
    await member.confirm("Regenerate")
    second = await member.secret()
    await member.close_dialog()
    assert (await site.post(call(), key=first)).status == 401
    assert (await site.post(call(), key=second)).status == 200
    await member.go("Requests")
    await expect(page.get_by_role("row")).to_have_count(3)  # their head, the admin's try, the one above
    await page.goto(f"{member.root}/console/users")
    await expect(page.get_by_role("heading", name="Not yours to see")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", name="Sign in").wait_for()
    await sign_in(member, "grace")
    await member.clean()
    assert member.refusals == []


async def test_a_stream_in_flight_is_seen_and_stopped(site: Rig, admin: Desk) -> None:
    site.upstream.script = _until_hung_up
    site.admin("user.create", user="team-b", unlimited=True)
    key = site.admin("key.create", user="team-b")["key"]
    answer = asyncio.create_task(site.post(call(), key=key))
    page = await admin.go("Streams")
    row = page.get_by_role("row").filter(has_text="team-b")
    await expect(row).to_contain_text("streaming")
    await row.get_by_role("button", name="Stop").click()
    await admin.confirm("Stop it")
    await expect(page.get_by_text("Nothing is in flight")).to_be_visible()
    reply = await answer
    assert reply.status == 200
    assert reply.events[0]["choices"][0]["delta"]["content"] == "on"  # events(): every line is well-formed
    assert reply.error["code"] and reply.error["message"]
    assert "[DONE]" not in reply.text
    await admin.clean()
    assert admin.refusals == []


async def _until_hung_up(seen: Seen) -> None:
    await seen.head_sse()
    await seen.chunk(delta("on"))
    if not await seen.gone():
        await seen.chunk(DONE)


async def test_the_door_can_be_used_with_a_keyboard(site: Rig, browser: Browser, admin: Desk) -> None:
    visitor = await desk(browser, site)
    page = await visitor.open("/requests?model=test")
    focused = "document.activeElement.name || document.activeElement.textContent.trim()"
    assert await page.evaluate(focused) == "name"
    await page.keyboard.type("ada")
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "password"
    await page.keyboard.type("not the password")
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "Sign in"
    ring = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong.")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", level=1, name="Requests").wait_for()
    assert page.url.endswith("/console/requests?model=test")  # where they wanted to go
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "Skip to the page"
    await visitor.clean()


async def test_a_dialog_keeps_the_focus_and_gives_it_back(admin: Desk) -> None:
    page = await admin.open("/users")
    button = page.get_by_role("button", name="New user")
    await button.focus()
    await page.keyboard.press("Enter")
    await page.locator("dialog").wait_for()
    inside = "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
    for _ in range(12):
        await page.keyboard.press("Tab")
        assert await page.evaluate(inside)
    await page.keyboard.press("Escape")
    await page.locator("dialog").wait_for(state="detached")
    await expect(button).to_be_focused()
    await admin.clean()
