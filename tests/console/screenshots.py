"""``python -m tests.console.screenshots [directory]``: every page as docs/console.md shows it.

One sheet per page: 1280 px wide in light and dark, and 360 px wide in both. The server is real, the upstream is the
demo provider, the day before is made up.
"""

from __future__ import annotations

import asyncio
import base64
import math
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from playwright.async_api import Browser, Page

from streamrouter.ops.series import Sample, Slot
from tests.console.browser import Desk, chromium, desk, set_up
from tests.support.rig import Rig
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream

TARGET = Path(__file__).parent.parent.parent / "docs" / "images" / "console"
QUALITY = 0.6
CONFIG = """
[upstreams.main]
base_url = "demo:"
demo_ttft_ms = 180
demo_pace_ms = 25
[upstreams.spare]
base_url = "http://127.0.0.1:1/v1"
[models.demo]
name = "Demo"
owned_by = "streamrouter"
price = { input = "0.40", output = "1.60", cache_read = "0.10" }
[models.careful]
name = "Demo with a spare"
owned_by = "streamrouter"
price = { input = "3", output = "15", cache_read = "0.30" }
targets = [{ upstream = "spare" }, { upstream = "main", model = "demo", rank = 1 }]
[[surface]]
name = "streamrouter"
billing = "prepaid"
"""
PROMPTS = [
    "Say hello.",
    "What is a stream?",
    "Name three rivers.",
    "Explain a ledger in one sentence.",
    "Why is it late?",
]
# the file, where it is, and what to do there before the picture is taken
SHEETS = [
    ("overview", "/?range=24h"),
    ("streams", "/streams"),
    ("requests", "/requests"),
    ("request", "/requests/{request}"),
    ("users", "/users"),
    ("user", "/users/{user}"),
    ("ledger", "/ledger?user={user}"),
    ("hold-and-settle", "/ledger?view=requests"),
    ("models", "/models"),
    ("people", "/people"),
    ("playground", "/playground"),
    ("connect", "/connect?client=python"),
    ("my-key", "/me"),
    ("settings", "/settings"),
    ("sign-in", "/"),
]
# Draws the four pictures on one canvas: desktop above desktop, the two telephones beside them.
_SHEET = """async ({ shots, quality }) => {
  const places = [[0, 0, 800, 500], [0, 512, 800, 500], [812, 0, 360, 1012], [1184, 0, 360, 1012]];
  const canvas = Object.assign(document.createElement("canvas"), { width: 1568, height: 1036 });
  const draw = canvas.getContext("2d");
  draw.fillStyle = "#8b95a3";
  draw.fillRect(0, 0, canvas.width, canvas.height);
  draw.imageSmoothingQuality = "high";
  for (const [index, [x, y, width, height]] of places.entries()) {
    const image = Object.assign(new Image(), { src: shots[index] });
    await image.decode();
    draw.drawImage(image, x + 12, y + 12, width, height);
  }
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


def a_day(ledger: Path) -> None:
    """Traffic of the last day, as it may have been, minute by minute."""
    chance = random.Random(7)
    now = int(time.time()) // 60
    with sqlite3.connect(ledger) as books:
        for minute in range(now - 24 * 60, now):
            slot = Slot(active=chance.randint(0, 6))
            for _ in range(max(0, round(9 + 8 * math.sin((minute % 1440) / 229) + chance.gauss(0, 2)))):
                tokens = chance.randint(40, 900)
                slot.count(
                    Sample(
                        error=chance.random() < 0.012,
                        input_tokens=tokens * 3,
                        output_tokens=tokens,
                        cost=tokens * 2800,
                        ttft_ms=round(chance.lognormvariate(5.6, 0.45)),
                        gap_p99_ms=round(chance.lognormvariate(3.6, 0.25)),
                    )
                )
            times = [orjson.dumps(each, option=orjson.OPT_NON_STR_KEYS).decode() for each in (slot.ttft, slot.gap)]
            sums = (slot.requests, slot.errors, slot.input_tokens, slot.output_tokens, slot.cost, slot.active)
            books.execute("INSERT INTO rollup_minute VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (minute, *sums, *times))
    books.close()


async def fill(rig: Rig) -> dict[str, str]:
    """Users, keys, money, people and a few requests; the ids that addresses need."""
    rig.admin("user.set", user="default", unlimited=True)
    keys = []
    users: dict[str, dict[str, Any]] = {
        "team-a": {"daily_input": 20_000, "daily_output": 1_000},
        "research": {"daily_output": 400, "models": ["demo"]},
        "grace": {"daily_input": 5_000_000, "daily_output": 1_000_000, "requests_per_minute": 600},
    }
    for name, caps in users.items():
        rig.admin("user.create", user=name, **caps)
        keys.append(rig.admin("key.create", user=name)["key"])
        rig.admin("topup", user=name, amount="25", ref=f"invoice-{len(keys)}")
    rig.admin("refund", user="team-a", amount="4.50", ref="invoice-1, in part")
    rig.admin("person.create", name="grace", role="member", user="grace")
    rig.admin("person.create", name="linus", role="admin", user=None)
    rig.admin("token.create", name="nightly backup")
    for number in range(24):
        body = {"model": ("demo", "careful")[number % 8 == 3], "stream": True, "max_tokens": 20 + number * 2}
        words = {"role": "user", "content": PROMPTS[number % len(PROMPTS)]}
        await rig.post({**body, "messages": [words]}, key=keys[number % 3 if number % 8 != 3 else 0])
    ids = {user["user"]: user["id"] for user in rig.admin("user.list")}
    return {"user": ids["team-a"], "request": rig.holds()[3]["id"]}


async def stage(person: Desk, name: str, page: Page) -> None:
    """What makes a page worth a picture."""
    rig = person.rig
    if name == "playground":
        await person.fill(secret=rig.server.key)
        await person.press("Use it")
        await page.get_by_placeholder("Say something").fill("What is a stream?")
        await page.keyboard.press("Enter")
        await page.get_by_text("Explain this charge").wait_for()
    elif name == "streams":
        await page.get_by_role("button", name="Stop").first.wait_for()
    elif name == "overview":
        await page.locator("canvas").nth(3).wait_for()
        await page.locator(".strip a").first.wait_for()
    await page.wait_for_timeout(300)


async def sheet(people: dict[str, Desk], page: Page, name: str, address: str) -> bytes:
    """Four pictures on one sheet."""
    shots = []
    for width, height in ((1280, 800), (360, 1012)):
        for theme in ("light", "dark"):
            person = people[f"{theme}{' out' if name == 'sign-in' else ''}"]
            await person.page.set_viewport_size({"width": width, "height": height})
            await stage(person, name, await person.open(address))
            shot = base64.b64encode(await person.page.screenshot()).decode()
            shots.append(f"data:image/png;base64,{shot}")
    drawn: str = await page.evaluate(_SHEET, {"shots": shots, "quality": QUALITY})
    return base64.b64decode(drawn)


async def streaming(rig: Rig) -> list[asyncio.Task[Any]]:
    """Streams that go on for a while: many choices take long."""
    body = {
        "model": "demo",
        "stream": True,
        "n": 8,
        "max_tokens": 900,
        "messages": [{"role": "user", "content": "go on"}],
    }
    return [asyncio.create_task(rig.post(body)) for _ in range(3)]


async def take(browser: Browser, rig: Rig, target: Path) -> None:
    ids = await fill(rig)
    people = {theme: await desk(browser, rig, color_scheme=theme) for theme in ("light", "dark")}
    people |= {f"{theme} out": await desk(browser, rig, color_scheme=theme) for theme in ("light", "dark")}
    await set_up(people["light"])
    ada = next(person for person in rig.admin("person.list") if person["name"] == "ada")
    rig.admin("person.set", id=ada["id"], user="team-a")
    cookies: Any = await people["light"].context.cookies()
    await people["dark"].context.add_cookies(cookies)
    page = await browser.new_page()
    for name, address in SHEETS:
        running = await streaming(rig) if name in ("overview", "streams") else []
        picture = await sheet(people, page, name, address.format(**ids))
        (target / f"{name}.webp").write_bytes(picture)
        print(f"{name}.webp {len(picture) // 1000} kB")
        await asyncio.gather(*running)


async def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory), CONFIG).start()
        server.terminate()
        a_day(server.ledger)
        server.start()
        async with (
            chromium() as browser,
            ScriptedUpstream() as unused,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client,
        ):
            try:
                await take(browser, Rig(server, unused, client), target)
            finally:
                server.kill()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET))
