"""Every page at 360 px, in both themes: nothing sticks out, everything can be read, axe has no complaint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.console.browser import Desk, desk, set_up
from tests.support.node import installed
from tests.support.rig import Rig, call
from tests.support.upstream import streamed

pytestmark = pytest.mark.asyncio(loop_scope="package")
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
LONG = "a-name-that-somebody-made-as-long-as-it-can-be-made-64-letters-1"
PAGES = ["/", "/?range=7d", "/streams", "/requests", "/users", "/ledger", "/ledger?view=requests", "/models", "/people"]
PAGES += ["/playground", "/connect", "/connect?client=node", "/me", "/settings", "/nowhere"]
RULES = "{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }"


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def small(site: Rig, browser: Browser) -> AsyncIterator[Desk]:
    """An admin with a telephone, and something to see on every page."""
    site.upstream.script = streamed(["some", " text"])
    site.admin("user.create", user=LONG, daily_input=1000, daily_output=1000, models=["test"])
    site.admin("topup", user=LONG, amount="12.345678901", ref="r" * 200)
    key = site.admin("key.create", user=LONG)["key"]
    assert (await site.post(call(), key=key)).status == 200
    made = await desk(browser, site, viewport={"width": 360, "height": 740}, color_scheme="light")
    await set_up(made)
    people = site.admin("person.list")
    site.admin("person.set", id=people[0]["id"], user=LONG)
    await made.page.evaluate(Path(installed() / "node_modules" / "axe-core" / "axe.min.js").read_text())
    yield made


async def look(of: Desk, where: str) -> list[str]:
    """What is wrong with what is shown now."""
    wide = await of.page.evaluate("document.documentElement.scrollWidth")
    wrong = [f"{where}: {wide} px wide"] if wide > 360 else []
    for theme in ("light", "dark"):
        await of.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        wrong += [f"{where}, {theme}: {low}" for low in await of.page.evaluate(CONTRAST)]
    if await of.page.evaluate("!window.axe"):
        await of.page.evaluate((installed() / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = await of.page.evaluate(f"axe.run(document, {RULES})")
    return wrong + [
        f"{where}: {each['id']} {[n['html'][:90] for n in each['nodes']][:3]}" for each in found["violations"]
    ]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_fits_and_can_be_read(small: Desk, path: str) -> None:
    await small.open(path)
    if path.startswith("/?") or path == "/":
        await small.page.locator("canvas").first.wait_for()
    assert await look(small, path) == []
    await small.clean()


async def test_one_request_and_one_user_too(small: Desk) -> None:
    page = await small.open("/requests")
    await page.locator("td a").first.click()
    await page.get_by_role("img", name="Waterfall").wait_for()
    await page.get_by_text("Explain this charge").click()
    wrong = await look(small, "request")
    page = await small.open("/users")
    await page.get_by_role("link", name=LONG).click()
    await page.get_by_role("heading", name="Keys").wait_for()
    assert wrong + await look(small, "user") == []
    await small.clean()


async def test_dialogs_and_the_menu_too(small: Desk) -> None:
    page = await small.open("/users")
    await page.get_by_role("link", name=LONG).click()
    wrong = []
    for button in ("Caps", "New key", "Rotate", "Revoke", "Disable"):
        await small.press(button)
        await page.locator("dialog").wait_for()
        wrong += await look(small, button)
        await small.close_dialog()
    await small.press("Menu")
    wrong += await look(small, "Menu")
    await page.get_by_role("link", name="Playground").click()
    await page.get_by_role("heading", level=1, name="Playground").wait_for()
    await expect(page.get_by_role("link", name="Ledger")).to_be_hidden()  # it closes behind who goes
    assert wrong == []


async def test_the_playground_with_an_answer_too(small: Desk, site: Rig) -> None:
    page = await small.open("/playground")
    await small.fill(secret=site.server.key)
    site.admin("user.set", user="default", unlimited=True)
    await small.press("Use it")
    await page.get_by_placeholder("Say something").fill("Hello!")
    await expect(page.get_by_role("button", name="Send")).to_be_enabled()  # the models are there
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Stream inspector")).to_contain_text("Explain this charge")
    assert await look(small, "playground") == []


async def test_the_doors_too(small: Desk, site: Rig, browser: Browser) -> None:
    invited = site.admin("person.create", name="grace", role="member", user=LONG)
    visitor = await desk(browser, site, viewport={"width": 360, "height": 740})
    wrong = []
    for path in ("/", "/setup", "/join", invited["link"].removeprefix("/console")):
        await visitor.open(path)
        wrong += await look(visitor, path.partition("#")[0])
    assert wrong == []
    await visitor.clean()


async def test_the_chosen_theme_stays(small: Desk, browser: Browser) -> None:
    page = await small.open("/settings")
    ground = "getComputedStyle(document.body).backgroundColor"
    await page.evaluate("delete document.documentElement.dataset.theme")
    light = await page.evaluate(ground)
    await page.locator("main").get_by_role("button", name="Dark").click()
    dark = await page.evaluate(ground)
    await small.open("/models")
    assert await page.evaluate(ground) == dark != light
    await small.open("/settings")
    await page.locator("main").get_by_role("button", name="Auto").click()
    assert await page.evaluate(ground) == light
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate(ground) == dark
    await page.emulate_media(color_scheme="light")


async def test_what_is_looked_for_would_be_found(site: Rig, browser: Browser) -> None:
    """The looking itself: planted faults are reported."""
    visitor = await desk(browser, site, viewport={"width": 360, "height": 740})
    page = await visitor.open("/")
    await page.evaluate(
        """() => {
            const planted = document.createElement("button");
            Object.assign(planted.style, { color: "#999", background: "#fff", display: "block", width: "400px" });
            planted.append("pale", document.createElement("img"));
            document.querySelector("main").append(planted);
            const script = document.createElement("script");
            script.append("alert(1)");
            document.body.append(script);
            setTimeout(() => alert("planted"));
        }"""
    )
    found = "\n".join(await look(visitor, "here"))
    assert "px wide" in found and "2.8" in found and "image-alt" in found
    with pytest.raises(AssertionError) as caught:
        await visitor.clean()
    assert "policy: script-src" in str(caught.value) and "dialog: planted" in str(caught.value)
