"""The files of the page: they need no key, ask nobody else for anything, and are small."""

from __future__ import annotations

import re

import httpx
import pytest

from pad_langchain.server.page.files import PAGE_PATHS
from served_app import Served

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
LICENSE = "/page/vendor/LICENSE.txt"
LOADED = sorted(PAGE_PATHS - {LICENSE})
VENDORED = "/page/vendor/htm-preact.js"


async def text_of(served: Served, path: str) -> str:
    async with served.client(None) as nobody:
        return (await nobody.get(path)).text


@pytest.mark.parametrize("path", sorted(PAGE_PATHS))
async def test_every_file_has_the_policy_and_needs_no_key(served: Served, path: str) -> None:
    async with served.client(None) as nobody:
        answer = await nobody.get(path)
        again = await nobody.get(path, headers={"If-None-Match": answer.headers["etag"]})
    kinds = {"": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-type"].partition(";")[0] == kinds[path.rpartition(".")[2].strip("/")]
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == POLICY


async def test_no_file_names_another_host(served: Served) -> None:
    for path in LOADED:
        found = re.findall(r"(?:https?:)?//[a-z0-9][\w.-]*\.[a-z]{2,}[^\s\"')`]*", await text_of(served, path))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, path


async def test_no_file_of_ours_makes_markup_or_code_of_text(served: Served) -> None:
    for path in set(LOADED) - {VENDORED}:
        text = await text_of(served, path)
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "Function(",
            " style=",
            "srcdoc",
        ):
            assert word not in text, (path, word)


async def test_everything_that_is_imported_is_there(served: Served) -> None:
    for path in LOADED:
        named = re.findall(r"\"(/page/[^\"]+)\"", await text_of(served, path))
        assert set(named) <= PAGE_PATHS, path


async def test_the_first_load_is_small(served: Served) -> None:
    loaded = 0
    async with served.client(None) as nobody:
        for path in LOADED:
            packed, plain = [
                await nobody.get(path, headers={"Accept-Encoding": encoding}) for encoding in ("gzip, br", "identity")
            ]
            loaded += int(packed.headers["content-length"])
            assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
            assert "content-encoding" not in plain.headers
            assert packed.text == plain.text
    assert loaded <= 30_000


async def test_a_packed_and_a_plain_file_are_two_for_a_cache(served: Served) -> None:
    async with served.client(None) as nobody:
        packed, plain = [
            await nobody.get(VENDORED, headers={"Accept-Encoding": encoding}) for encoding in ("gzip", "identity")
        ]
        headers = {"Accept-Encoding": "identity", "If-None-Match": packed.headers["etag"]}
        assert (await nobody.get(VENDORED, headers=headers)).status_code == 200
    assert packed.headers["etag"] != plain.headers["etag"]


async def test_what_is_no_file_of_the_page_is_not_there(served: Served, ada: httpx.AsyncClient) -> None:
    for path in ("/page/nothing.js", "/page/index.html", "/page/../login.py", "/page/%2e%2e/login.py", "/page/"):
        async with served.client(None) as nobody:
            assert (await nobody.get(path)).status_code == 401
        assert (await ada.get(path)).status_code == 404


async def test_a_name_that_points_here_gets_no_page(served: Served) -> None:
    async with served.client(None) as nobody:
        assert (await nobody.get("/", headers={"Host": "evil.example"})).status_code == 400


async def test_the_vendored_library_has_its_licences(served: Served) -> None:
    text = await text_of(served, LICENSE)
    assert "The MIT License (MIT)" in text
    assert "Apache License" in text
