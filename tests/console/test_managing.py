"""What an admin does in the console happens: caps, keys, money, tokens, upstreams, passwords; and is seen at once."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.console.browser import PASSWORD, Desk, desk, sign_in
from tests.support.rig import Rig, call
from tests.support.upstream import Seen, completion, delta, streamed

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_user_gets_caps_and_is_disabled_and_enabled(site: Rig, admin: Desk) -> None:
    page = await admin.open("/users")
    await admin.press("New user")
    await admin.fill(user="team-a")
    await admin.confirm("Make the user")
    await admin.press("Caps")
    await admin.fill(daily_input="1234567", requests_per_minute="600")
    await page.get_by_label("only these").check()
    await page.get_by_label("test", exact=True).check()
    await page.get_by_label("No balance is needed").check()
    await admin.confirm("Save")
    await expect(page.get_by_role("meter", name="Input tokens today")).to_have_attribute("aria-valuemax", "1234567")
    [user] = [each for each in site.admin("user.list") if each["user"] == "team-a"]
    assert (user["daily_input"], user["requests_per_minute"], user["models"]) == (1234567, 600, ["test"])
    assert user["unlimited"] and user["daily_output"] is None
    await admin.press("Disable")
    await admin.confirm("Disable")
    await expect(page.get_by_text("disabled", exact=True)).to_be_visible()
    await admin.press("Enable")
    await expect(page.get_by_role("button", name="Disable")).to_be_visible()
    await admin.clean()
    assert admin.refusals == []


async def test_a_key_is_edited_rotated_with_grace_and_revoked(site: Rig, admin: Desk) -> None:
    site.upstream.script = streamed(["Hello"])
    site.admin("user.create", user="team-k", unlimited=True)
    page = await admin.open("/users")
    await page.get_by_role("link", name="team-k").click()
    await admin.press("New key")
    await admin.fill(concurrency="3")
    await admin.confirm("Make the key")
    first = await admin.secret()
    await admin.close_dialog()
    await admin.press("Edit")
    await admin.fill(concurrency="5")
    await admin.confirm("Save")
    await expect(page.get_by_role("table", name="Keys")).to_contain_text("0 of 5")
    await admin.press("Rotate")
    await admin.fill(grace_s="3600")
    await admin.confirm("Rotate")
    second = await admin.secret()
    await admin.close_dialog()
    assert [(await site.post(call(), key=key)).status for key in (first, second)] == [200, 200]
    await expect(page.get_by_role("table", name="Keys")).to_contain_text("until")
    await admin.press("Revoke")
    await page.get_by_label("Also stop its streams").check()
    await admin.confirm("Revoke")
    await expect(page.get_by_text("revoked", exact=True)).to_be_visible()
    assert [(await site.post(call(), key=key)).status for key in (first, second)] == [200, 401]
    await admin.clean()


async def test_money_and_the_charts_lead_to_what_they_are_made_of(site: Rig, admin: Desk) -> None:
    site.admin("user.create", user="team-m")
    page = await admin.open("/ledger?user=team-m")
    for button, amount in (("Top up", "10.5"), ("Refund", "0.000000001")):
        await admin.press(button)
        await admin.fill(amount=amount)
        await admin.confirm(button)
        await page.locator("dialog").wait_for(state="detached")
    await expect(page.get_by_title("$10.499999999")).to_have_text("$10.50")  # all of it when pointed at
    async with page.expect_download() as download:
        await page.get_by_role("link", name="CSV").click()
    assert "10.499999999" in (await (await download.value).path()).read_text()
    await _a_request(site)
    page = await admin.open("/")
    chart = page.get_by_role("img", name="Requests,")
    await chart.locator("canvas").wait_for()
    await chart.focus()
    for key in ("ArrowLeft", "ArrowRight", "Enter"):
        await page.keyboard.press(key)
    await page.get_by_role("heading", level=1, name="Requests").wait_for()
    assert re.search(r"since=\d{4}-.*Z&until=\d{4}-.*Z", page.url.replace("%3A", ":"))
    await page.go_back()
    await page.get_by_role("img", name="Tokens,").locator(".u-over").click()
    await page.get_by_role("heading", level=1, name="Requests").wait_for()
    await admin.clean()


async def _a_request(site: Rig) -> None:
    site.admin("user.set", user="default", unlimited=True)
    site.upstream.script = streamed(["Hello"])
    assert (await site.post(call())).status == 200


async def test_filters_stand_in_the_address(site: Rig, admin: Desk) -> None:
    await _a_request(site)
    page = await admin.open("/requests")
    await page.get_by_label("Model").fill("nothing-like-it")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("No request is like that")).to_be_visible()
    assert page.url.endswith("/console/requests?model=nothing-like-it")
    await page.reload()
    await expect(page.get_by_label("Model")).to_have_value("nothing-like-it")
    await page.go_back()
    await expect(page.get_by_role("table", name="Requests")).to_be_visible()
    await admin.clean()


async def test_an_upstream_is_tested_with_one_prompt(site: Rig, admin: Desk) -> None:
    site.upstream.script = _answers
    page = await admin.open("/models")
    await admin.press("Test")
    await admin.confirm("Send one prompt")
    await expect(page.locator("dialog")).to_contain_text("it answered")
    await admin.close_dialog()
    await admin.clean()


async def _answers(seen: Seen) -> None:
    if seen.body.get("stream"):
        await streamed(["Hello", " there"])(seen)
    else:
        await seen.json(completion("Hello there"))


async def test_a_stream_that_its_reader_stops_says_what_it_cost(site: Rig, admin: Desk) -> None:
    site.admin("user.set", user="default", unlimited=True)
    site.upstream.script = _goes_on
    page = await admin.open("/playground")
    await admin.fill(secret=site.server.key)
    await admin.press("Use it")
    await page.get_by_placeholder("Say something").fill("Go on.")
    await expect(page.get_by_role("button", name="Send")).to_be_enabled()  # the models are there
    await page.keyboard.press("Enter")
    await expect(page.locator(".thread")).to_contain_text("on and on")
    await admin.press("Stop")
    inspector = page.get_by_label("Stream inspector")
    await expect(inspector).to_contain_text("stopped by you")
    await expect(inspector).to_contain_text("Ended as “client left”")
    await page.reload()
    await expect(page.get_by_text("Use a key that you have")).to_be_visible()  # the key was in memory only
    assert await page.evaluate("Object.keys(localStorage).concat(Object.keys(sessionStorage))") == []
    await admin.clean()


async def _goes_on(seen: Seen) -> None:
    await seen.head_sse()
    for text in ("on", " and", " on"):
        await seen.chunk(delta(text))
    await seen.gone()


async def test_a_token_is_made_and_deleted(site: Rig, admin: Desk) -> None:
    page = await admin.open("/people")
    await expect(page.get_by_text("No tokens")).to_be_visible()
    await admin.press("New token")
    await admin.fill(name="backup")
    await admin.confirm("Make the token")
    token = await admin.secret()
    await admin.close_dialog()
    users = site.server.root + "/admin/api/users"
    for status, act in ((200, "Delete"), (401, None)):
        async with site.client.get(users, headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == status
        if act:
            await admin.press(act)
            await admin.confirm(act)
            await expect(page.get_by_text("No tokens")).to_be_visible()
    await admin.clean()


async def test_a_new_password_ends_the_other_sessions(site: Rig, browser: Browser, admin: Desk) -> None:
    other = await desk(browser, site)
    await sign_in(other)
    page = await other.open("/settings")
    await expect(page.get_by_role("table", name="Your sessions").get_by_role("row")).to_have_count(3)
    await other.fill(old="not the password", password=PASSWORD + "!", again=PASSWORD + "!")
    await other.press("Change the password")
    await expect(page.get_by_role("alert")).to_contain_text("The old password is wrong.")
    await expect(page.locator("[name=old]")).to_be_focused()
    await other.fill(old=PASSWORD, again="something else")
    await other.press("Change the password")
    await expect(page.get_by_role("alert")).to_contain_text("The two passwords differ.")
    await other.fill(again=PASSWORD + "!")
    await other.press("Change the password")
    await expect(page.get_by_text("The password is changed.")).to_be_visible()
    await expect(page.get_by_role("table", name="Your sessions").get_by_role("row")).to_have_count(2)
    await admin.page.get_by_role("link", name="People").click()  # again: it is asked for anew
    await expect(admin.page.get_by_text("Your session has ended.")).to_be_visible()
    await other.clean()
