"""What a user does on the chat page, by roles and labels."""

from __future__ import annotations

import json
from typing import Any

from browsers import Seen
from served_process import Running

QUESTION = "What is a lion?"
ANIMALS = ("a lion", "an eagle")


def open_page(browser: Any, url: str, seen: Seen, key: str | None, **options: Any) -> Any:
    """Open the page in a context of its own, and log in if there is a key."""
    context = browser.new_context(**options)
    context.set_default_timeout(60_000)
    page = context.new_page()
    seen.watch(page)
    page.goto(url)
    if key is not None:
        log_in(page, key)
    return page


def log_in(page: Any, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Your message").wait_for()


def ask(page: Any, text: str = QUESTION) -> Any:
    """Send a question; return the message that answers, once it is whole."""
    answers = page.locator(".message:not(.mine)")
    before = answers.count()
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send").click()
    answer = answers.nth(before)
    answer.get_by_role("button", name="Good").wait_for()
    return answer


def text_of(answer: Any) -> str:
    return str(answer.locator(".text").inner_text())


def like(answer: Any) -> None:
    good = answer.get_by_role("button", name="Good")
    good.click()
    expect_that(good).to_have_attribute("aria-pressed", "true")


def tell(page: Any, wish: str) -> str:
    """Tell a wish; return what came of it."""
    status = page.locator(".told")
    before = status.inner_text()
    page.get_by_label("A wish, in your own words").fill(wish)
    page.get_by_role("button", name="Tell", exact=True).click()
    expect_that(status).not_to_have_text(before)
    return str(status.inner_text())


def expect_that(locator: Any) -> Any:
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    return expect(locator)


def kept(running: Running, who: str = "ada") -> list[dict[str, Any]]:
    """The events that are kept of a user."""
    rows = running.http(who).get("/v1/me").json()["events"]
    return [row["event"] for row in rows]


def forget(running: Running, who: str = "ada") -> None:
    running.http(who).delete("/v1/me").raise_for_status()


def hold(page: Any, *, error: int | None = None) -> None:
    """Have answers of the server that stream never end, or fail."""
    chunk = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "A lion"}, "logprobs": None}]}
    refused = {"error": {"message": "Too many requests are waiting. Try again later.", "code": "queue_full"}}

    def answer(route: Any) -> None:
        if error:
            route.fulfill(status=error, content_type="application/json", body=json.dumps(refused))
        else:
            route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(chunk)}\n\n")

    page.route("**/v1/chat/completions", answer)
