"""The pages are files of the package: what is served, under which policy, and what the files may not hold."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from streamrouter.web.pages import Pages
from tests.support.asgi import Answer, ask

FOLDER = Path(__file__).parent.parent.parent / "streamrouter" / "console"
SERVED = sorted(path for path in FOLDER.rglob("*.*") if path.suffix in {".html", ".js", ".css", ".svg"})
OWN = [path for path in SERVED if "vendor" not in path.parts]
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
MOST_BYTES = 80_000
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
pages = Pages()


def name_of(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


async def get(path: str, *headers: tuple[str, str], method: str = "GET") -> Answer:
    return await ask(pages, method, path, headers)


@pytest.mark.parametrize(
    "path", ["/console", "/console/", "/console/requests", "/console/users/acct_1", "/console/a/b/c"]
)
async def test_a_path_of_the_pages_own_gives_the_index(path: str) -> None:
    answer = await get(path)
    assert answer.status == 200
    assert answer.body == (FOLDER / "index.html").read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", SERVED, ids=name_of)
async def test_every_file_is_served_as_it_is(path: Path) -> None:
    answer = await get(f"/console/{name_of(path)}")
    assert (answer.status, answer.body) == (200, path.read_bytes())
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    kept = "public, max-age=31536000, immutable" if "vendor" in path.parts else "no-cache"
    assert answer.headers["cache-control"] == kept


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing.js",
        "/console/js/",  # a folder is a page's path: the index, see below
        "/console/../pyproject.toml",
        "/console/js/../../web/pages.py",
        "/console//etc/passwd.txt",
        "/console/js\\main.js",
        "/console/vendor/README.md",
        "/console/INDEX.HTML",
        "/console/js/main.js/",
        "/console/.env",
    ],
)
async def test_no_other_file_can_be_reached(path: str) -> None:
    answer = await get(path)
    index = (FOLDER / "index.html").read_bytes()
    assert answer.status == 404 or answer.body == index
    assert (answer.status == 404) == ("." in path.rpartition("/")[2])


async def test_a_browser_that_has_it_is_told_so() -> None:
    first = await get("/console/js/main.js")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await get("/console/js/main.js", ("if-none-match", known))
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["content-security-policy"] == CSP
    assert (await get("/console/js/main.js", ("if-none-match", '"other"'))).status == 200


async def test_it_is_compressed_for_whoever_takes_that() -> None:
    plain = await get("/console/js/main.js")
    small = await get("/console/js/main.js", ("accept-encoding", "br, gzip"))
    assert small.headers["content-encoding"] == "gzip"
    assert gzip.decompress(small.body) == plain.body
    assert small.headers["etag"] != plain.headers["etag"]  # another representation (RFC 9110 section 8.8.3.3)
    assert plain.headers["vary"] == small.headers["vary"] == "Accept-Encoding"


async def test_head_is_get_without_a_body() -> None:
    whole, head = await get("/console"), await get("/console", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))
    assert (await get("/console/nothing.js", method="HEAD")).body == b""


async def test_pages_are_only_read() -> None:
    answer = await get("/console", method="POST")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.headers["content-security-policy"] == CSP


def test_all_of_it_is_small() -> None:
    assert sum(len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in SERVED) < MOST_BYTES


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_is_short_and_makes_no_markup_of_text(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    wrong = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|javascript:"
    assert re.findall(wrong, text) == []


@pytest.mark.parametrize("path", OWN, ids=name_of)
def test_nothing_foreign_is_asked_for(path: Path) -> None:
    """Every address is ours: none of another host in an attribute, an import, a style or a fetch."""
    text = path.read_text()
    assert re.findall(r"""(?:src|href)=["'](?!/console/|#)[^"'$]""", text) == []
    imports = text.partition("\n\n")[0] + "".join(re.findall(r"import\(.*", text))  # at the top, or called
    assert re.findall(r"""(?:from |import\()["'`](?!\.{1,2}/|/console/vendor/)""", imports) == []
    assert re.findall(r"""url\((?!["']?data:)|@import|fetch\(["'`]http""", text) == []


def test_the_index_has_nothing_inline() -> None:
    text = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", text) == []


def test_vendored_files_come_with_their_licences() -> None:
    readme = (FOLDER / "vendor" / "README.md").read_text()
    for folder in (FOLDER / "vendor").iterdir():
        if folder.is_dir():
            assert f"`{folder.name}`" in readme
            assert any("LICENSE" in path.name and path.stat().st_size > 500 for path in folder.iterdir())
