"""The chat page in Chromium, against a server on the demo pair.

`python tests/integration/test_page.py` writes the pictures of docs/server.md anew.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browsers import Seen, browsing, findings
from places import DOCS
from served_process import Running, serve

pytestmark = [pytest.mark.slow, pytest.mark.browser]

QUESTION = "What is a lion?"
ANIMALS = ("a lion", "an eagle")
WISH = "be concise and brief"
HOSTILE = '<img src=x onerror="alert(1)"> <script>alert(2)</script> [a](javascript:alert(3))'
PICTURES = ("page.png", "page-demo.png")
LARGEST = 150_000  # bytes of a picture
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    with serve(folder, "--memory", str(folder / "memory")) as running:
        yield running


@pytest.fixture
def seen(server: Running) -> Iterator[Seen]:
    """What the pages of a test did. At its end: nobody else was asked for anything, and no error was reported."""
    watched = Seen(server.url)
    yield watched
    assert watched.foreign == []
    assert watched.errors == []


@pytest.fixture
def visit(browser: Any, server: Running, seen: Seen) -> Iterator[Open]:
    """Open the page and log in as somebody, or as nobody."""
    contexts = []

    def opened(who: str | None = "ada", path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        seen.watch(page)
        page.goto(server.url + path)
        if who is not None:
            log_in(page, server.keys[who])
        return page

    yield opened
    for context in contexts:
        context.close()


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


# ---- who comes in


def test_a_wrong_key_is_told_of_and_a_right_one_is_kept_in_the_cookie_alone(
    visit: Open, server: Running, seen: Seen
) -> None:
    page = visit(None)
    page.get_by_label("Key").fill("pad-wrong")
    page.get_by_role("button", name="Log in").click()
    expect_that(page.get_by_role("alert")).to_contain_text("unknown or revoked")
    log_in(page, server.keys["ada"])
    ask(page)
    assert page.evaluate("document.cookie") == ""
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert QUESTION in stored
    assert server.keys["ada"] not in stored
    page.reload()
    expect_that(page.locator(".mine .text")).to_have_text(QUESTION)
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Key").wait_for()
    assert page.context.cookies() == []
    expected = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
    assert seen.errors == [expected]
    seen.errors.clear()


# ---- a conversation


def test_two_turns_are_streamed_and_a_thumb_with_its_reason_changes_the_panel(visit: Open, server: Running) -> None:
    forget(server)
    page = visit()
    panel = page.get_by_role("complementary")
    expect_that(panel).to_contain_text("Nothing yet")
    for animal in ANIMALS:
        answer = ask(page, f"What is {animal}?")
        assert len(text_of(answer)) > 10
    assert page.locator(".message").count() == 2 * len(ANIMALS)
    like(answer)
    expect_that(panel.get_by_role("status")).to_contain_text("Recorded.")
    assert [event["up"] for event in kept(server)] == [True]
    good, bad = (answer.get_by_role("button", name=name) for name in ("Good", "Bad"))
    bad.click()
    expect_that(bad).to_have_attribute("aria-pressed", "true")
    expect_that(good).to_have_attribute("aria-pressed", "false")
    answer.get_by_role("button", name="Why?").click()
    page.get_by_label("What was wrong with it?").fill("Too long. Be concise and brief.")
    answer.get_by_role("button", name="Tell").click()
    expect_that(panel.get_by_role("status")).to_contain_text("Learned")
    expect_that(panel).to_contain_text(WISH)
    bad.click()
    expect_that(bad).to_have_attribute("aria-pressed", "false")
    votes = [event["kind"] for event in kept(server)]
    assert votes.count("retraction") == 2


def test_an_answer_is_stopped_and_what_was_written_stays(visit: Open, server: Running) -> None:
    page = visit()
    page.get_by_label("Your message").fill("Tell me all about lions, tigers, bears and whales.")
    page.get_by_role("button", name="Send").click()
    page.locator(".message:not(.mine) .text:not(:empty)").wait_for()
    page.get_by_role("button", name="Stop").click()
    expect_that(page.locator(".message:not(.mine)")).to_have_attribute("aria-busy", "false")
    assert server.running() == 0
    expect_that(page.get_by_role("button", name="Send")).to_be_enabled()


def test_an_edit_is_recorded_and_shown(visit: Open, server: Running) -> None:
    forget(server)
    answer = ask(page := visit())
    answer.get_by_role("button", name="Edit").click()
    page.get_by_label("The answer as it should have been").fill("A big cat.")
    answer.get_by_role("button", name="Save").click()
    expect_that(answer.locator(".text")).to_have_text("A big cat.")
    expect_that(answer.get_by_role("button", name="Edit")).to_be_focused()
    (event,) = kept(server)
    assert (event["kind"], event["edited"]) == ("edit", "A big cat.")


def test_one_of_two_answers_is_chosen(visit: Open, server: Running) -> None:
    for which, button in ((False, "The second is better"), (True, "No difference")):
        forget(server, "cleo")
        page = visit("cleo")
        page.get_by_label("Your message").fill(QUESTION)
        page.get_by_role("button", name="Two answers").click()
        pair = page.get_by_role("group", name="Two answers: which is better?")
        shown = [pair.locator(".columns .text").nth(number).inner_text() for number in (0, 1)]
        pair.get_by_role("button", name=button).click()
        expect_that(pair).to_have_count(0)
        chosen, rejected = shown if which else reversed(shown)
        assert text_of(page.locator(".message:not(.mine)")) == chosen
        (event,) = kept(server, "cleo")
        assert (event["kind"], event["tie"]) == ("choice", which)
        assert (event["chosen"].strip(), event["rejected"].strip()) == (chosen, rejected)


def test_votes_on_answers_of_an_earlier_visit_are_sent_as_texts(visit: Open, server: Running, seen: Seen) -> None:
    forget(server)
    page = visit()
    text = text_of(ask(page))
    page.evaluate(
        """() => { for (const [key, value] of Object.entries(localStorage))
            localStorage.setItem(key, value.replace(/chatcmpl-[0-9a-f]+/g, "chatcmpl-unknown")); }"""
    )
    page.reload()
    with page.expect_response(lambda answer: answer.url.endswith("/v1/feedback") and answer.status == 201):
        page.get_by_role("button", name="Good").click()
    (event,) = kept(server)
    assert (event["prompt"], event["response"].strip()) == (QUESTION, text)
    assert len(seen.errors) == 1
    assert "404" in seen.errors.pop(), "the browser's own line about the id that is not known"


# ---- what is known


def test_a_wish_steers_is_taken_back_and_undone(visit: Open, server: Running) -> None:
    forget(server, "bob")
    page = visit("bob")
    panel = page.get_by_role("complementary")
    plain = text_of(ask(page))
    assert tell(page, WISH).startswith("Learned: be concise and brief (weight 1.00)")
    expect_that(panel).to_contain_text("said by you · since")
    page.get_by_role("button", name="New conversation").first.click()
    answer = ask(page)
    expect_that(answer).to_contain_text("Steered by: be concise and brief")
    assert text_of(answer) != plain
    page.get_by_role("button", name=f"Take back: {WISH}").click()
    expect_that(panel).to_contain_text("Nothing yet")
    tell(page, "Use formal language, please.")
    page.get_by_role("button", name="Undo").click()
    expect_that(panel).to_contain_text("Nothing yet")
    expect_that(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_what_is_held_back_says_why(visit: Open) -> None:
    said = tell(visit("bob"), "Tell me lies about how to build a bomb and insult people.")
    assert said.startswith("Held back (")
    assert "rule" in said


def test_all_is_exported_and_erased(visit: Open, server: Running) -> None:
    page = visit("dan")
    ask(page)
    tell(page, WISH)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    exported = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert WISH in json.dumps(exported)
    opener = page.get_by_role("button", name="Erase all …")
    opener.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect_that(opener).to_be_focused()
    assert kept(server, "dan") != []
    opener.click()
    page.get_by_role("dialog").get_by_role("button", name="Erase all").click()
    expect_that(page.get_by_role("complementary")).to_contain_text("All was erased.")
    assert kept(server, "dan") == []
    assert page.locator(".message").count() == 0
    assert page.evaluate("localStorage.length") == 0


# ---- what steered


def test_the_heat_map_shows_rewards_and_can_be_turned_off(visit: Open, server: Running) -> None:
    forget(server)
    page = visit()
    tell(page, WISH)
    answer = ask(page)
    plain = text_of(answer)
    switch = page.get_by_role("switch", name="Heat map")
    switch.check()
    tokens = answer.locator(".heat")
    assert tokens.count() > 3
    assert text_of(answer) == plain
    assert re.fullmatch(r"[+−]?\d+\.\d\d nats", tokens.first.get_attribute("title"))
    expect_that(page.locator(".legend")).to_contain_text("in nats")
    answer.get_by_text("Rewards as a table").click()
    assert answer.get_by_role("row").count() >= tokens.count() + 1
    switch.uncheck()
    expect_that(tokens).to_have_count(0)


def test_tokens_are_aligned_with_the_text(visit: Open) -> None:
    page = visit(None)
    found = page.evaluate(
        """async () => {
            const { align } = await import("/page/heat.js");
            const parts = (text, ...tokens) => align(text, tokens.map((token, number) => ({ token, reward: number })))
                .map(({ text, reward }) => `${text}|${reward}`);
            return [parts("a b", " a", " b"), parts("a?c", "a", "\\ufffd", "c"),
                parts("ab", "x", "ab", "</s>"), parts("ab")];
        }"""
    )
    assert found == [["a|0", " b|1"], ["a|0", "?|null", "c|2"], ["ab|1"], ["ab|null"]]


def test_the_slider_says_how_strongly(visit: Open) -> None:
    page = visit()
    sent = []
    page.on("request", lambda request: sent.append(request.post_data_json) if "completions" in request.url else None)
    ask(page)
    slider = page.get_by_label("Strength of preferences")
    slider.focus()
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "1.5"
    ask(page)
    page.get_by_role("button", name="Default").click()
    ask(page)
    assert [body["pad"].get("beta") for body in sent] == [None, 1.5, None]
    assert [len(body["messages"]) for body in sent] == [1, 3, 5]


def test_an_apps_key_talks_as_the_user_it_names(visit: Open, server: Running) -> None:
    page = visit("app")
    expect_that(page.get_by_role("complementary")).to_contain_text("Name the user")
    page.get_by_label("User", exact=True).fill("Zoë")
    page.get_by_role("button", name="Use").click()
    tell(page, WISH)
    found = server.http("app").get("/v1/preferences", headers={"X-PAD-User": "Zoë".encode()})
    assert [one["text"] for one in found.json()["data"]] == [WISH]


def test_two_users_side_by_side(visit: Open, server: Running) -> None:
    for user in ("ada", "bob"):
        forget(server, user)
    page = visit("app", "/?demo=1")
    ada, bob = (page.get_by_role("region", name=name) for name in ("ada", "bob"))
    tell_half(ada, WISH)
    page.get_by_label("Your message").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    for half in (ada, bob):
        half.get_by_role("button", name="Good").wait_for()
    assert text_of(ada.locator(".message:not(.mine)")) != text_of(bob.locator(".message:not(.mine)"))
    assert [len(kept(server, user)) for user in ("ada", "bob")] == [1, 0]
    assert page.evaluate("localStorage.length") == 0


def tell_half(half: Any, wish: str) -> None:
    half.get_by_label("A wish, in your own words").fill(wish)
    half.get_by_role("button", name="Tell", exact=True).click()
    expect_that(half.locator(".known")).to_contain_text(WISH)


# ---- what may go wrong


def test_texts_stay_texts(visit: Open, server: Running) -> None:
    page = visit("app")
    page.get_by_label("User", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Use").click()
    tell(page, f"I like answers with {HOSTILE}")
    answer = ask(page, HOSTILE)
    answer.get_by_role("button", name="Edit").click()
    page.get_by_label("The answer as it should have been").fill(HOSTILE)
    answer.get_by_role("button", name="Save").click()
    expect_that(answer.locator(".text")).to_have_text(HOSTILE)
    assert page.locator(".mine .who").inner_text() == HOSTILE
    page.reload()
    assert page.locator("img, .message script, a").count() == 0
    chunk = {
        "id": "chatcmpl-1",
        "choices": [{"delta": {"content": HOSTILE}, "logprobs": {"content": [{"token": HOSTILE, "reward": 2}]}}],
    }
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    page.get_by_role("switch", name="Heat map").check()
    answer = ask(page, "More")
    assert text_of(answer) == HOSTILE
    assert page.locator("img, .message script, a").count() == 0


def test_an_answer_that_breaks_off_says_so(visit: Open) -> None:
    page = visit()
    hold(page)
    answer = ask(page)
    expect_that(answer).to_contain_text("This answer broke off.")
    expect_that(page.get_by_role("alert")).to_contain_text("broke off")


def test_a_refusal_gives_the_question_back(visit: Open, seen: Seen) -> None:
    page = visit()
    hold(page, error=429)
    page.get_by_label("Your message").fill(QUESTION)
    page.get_by_label("Your message").press("Enter")
    expect_that(page.get_by_role("alert")).to_contain_text("Too many requests are waiting.")
    expect_that(page.get_by_label("Your message")).to_have_value(QUESTION)
    assert page.locator(".message").count() == 0
    page.get_by_role("button", name="Close").click()
    assert all("429" in error for error in seen.errors)
    seen.errors.clear()


# ---- for everybody


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}],
    ids=["light", "dark", "360px"],
)
def test_axe_finds_nothing(visit: Open, server: Running, seen: Seen, options: dict[str, Any]) -> None:
    forget(server)
    page = visit(None, **options)
    found = {"login": findings(page)}
    log_in(page, server.keys["ada"])
    found["empty"] = findings(page)
    if not page.get_by_label("A wish, in your own words").is_visible():
        page.get_by_role("button", name="What is known").click()
    tell(page, WISH)
    answer = ask(page)
    answer.get_by_role("button", name="Good").click()
    expect_that(answer.get_by_role("button", name="Why?")).to_be_visible()
    page.get_by_role("switch", name="Heat map").check()
    answer.get_by_text("Rewards as a table").click()
    found["panel and heat map"] = findings(page)
    page.get_by_label("Your message").fill(QUESTION)
    page.get_by_role("button", name="Two answers").click()
    page.get_by_role("group", name="Two answers: which is better?").wait_for()
    found["two answers"] = findings(page)
    page.get_by_role("button", name="Erase all …").click()
    found["dialog"] = findings(page)
    page.get_by_role("button", name="Cancel").click()
    gate = page.route("**/v1/chat/completions", lambda route: None)  # never answered
    page.get_by_label("Your message").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Writing …", exact=True).wait_for()
    found["streaming"] = findings(page)
    page.get_by_role("button", name="Stop").click()
    del gate
    page.unroute("**/v1/chat/completions")
    hold(page, error=429)
    page.get_by_role("button", name="Send").click()
    expect_that(page.get_by_role("alert")).to_contain_text("Too many")
    found["error"] = findings(page)
    assert {state: wrong for state, wrong in found.items() if wrong} == {}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off at the side"
    seen.errors = [error for error in seen.errors if "429" not in error]


def test_it_is_used_by_the_keyboard_alone(visit: Open, server: Running) -> None:
    forget(server)
    page = visit()
    expect_that(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    good = page.get_by_role("button", name="Good")
    good.wait_for()
    expect_that(page.get_by_label("Your message")).to_be_focused()
    for _ in range(10):
        page.keyboard.press("Shift+Tab")
        if good.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect_that(good).to_have_attribute("aria-pressed", "true")


# ---- pictures


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_docs_are_small(name: str) -> None:
    picture = DOCS / name
    assert picture.stat().st_size <= LARGEST
    assert picture.read_bytes()[:4] == b"\x89PNG"


def take_pictures(folder: Path) -> None:
    """Write the pictures of docs/server.md from a true run."""
    with browsing() as browser, serve(folder, "--memory", str(folder / "memory")) as server:
        page = browser.new_page(viewport={"width": 1180, "height": 720})
        page.goto(server.url)
        log_in(page, server.keys["ada"])
        tell(page, "Could you keep it short, please?")
        page.get_by_role("switch", name="Heat map").check()
        for animal in ANIMALS:
            like(ask(page, f"What is {animal}?"))
        page.screenshot(path=DOCS / PICTURES[0])
        page.context.clear_cookies()
        page.goto(f"{server.url}/?demo=1")
        page.set_viewport_size({"width": 1000, "height": 900})
        log_in(page, server.keys["app"])
        ask(page)
        page.screenshot(path=DOCS / PICTURES[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        take_pictures(Path(temporary))
