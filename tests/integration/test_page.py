"""The chat page in Chromium, against a server on the demo pair."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browsers import Seen, browsing, findings
from chat_page import ANIMALS, QUESTION, ask, expect_that, forget, hold, kept, like, log_in, open_page, tell, text_of
from served_process import Running, serve

pytestmark = [pytest.mark.slow, pytest.mark.browser]

WISH = "be concise and brief"
HOSTILE = '<img src=x onerror="alert(1)"> <script>alert(2)</script> [a](javascript:alert(3))'
SCREENS: Any = {"light": {}, "dark": {"color_scheme": "dark"}, "360px": {"viewport": {"width": 360, "height": 740}}}
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

    def opened(who: str | None = "ada", path: str = "/", **options: Any) -> Any:
        return open_page(browser, server.url + path, seen, who and server.keys[who], **options)

    yield opened
    for context in browser.contexts:
        context.close()


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
    expect_that(panel.get_by_role("status")).to_contain_text("Recorded. Leaning towards:")
    unsure = panel.get_by_role("heading", name="Not sure yet")
    expect_that(unsure).to_be_visible()
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
    expect_that(unsure).to_have_count(0)
    assert [event["kind"] for event in kept(server)].count("retraction") == 2


STOP_AT_FIRST_WORD = """() => new MutationObserver((_, seen) => {
  const stop = [...document.querySelectorAll("button")].find((button) => button.textContent === "Stop");
  if (!stop || !document.querySelector(".message:not(.mine) .text")?.textContent) return;
  seen.disconnect();
  stop.click();
  document.documentElement.dataset.stopped = "";
}).observe(document.body, { subtree: true, childList: true, characterData: true })"""


def test_an_answer_is_stopped_and_what_was_written_stays(visit: Open, server: Running) -> None:
    page = visit()
    page.get_by_label("Your message").fill("Tell me all about lions, tigers, bears and whales.")
    page.evaluate(STOP_AT_FIRST_WORD)  # by hand it may come too late
    page.get_by_role("button", name="Send").click()
    page.locator(".message:not(.mine) .text:not(:empty)").wait_for()
    expect_that(page.locator("html[data-stopped]")).to_be_attached()
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
    assert re.match(r"Held back \(\w+, rule “.+”\): .{10}", said)


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
    tell(ada, WISH)
    page.get_by_label("Your message").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    for half in (ada, bob):
        half.get_by_role("button", name="Good").wait_for()
    assert text_of(ada.locator(".message:not(.mine)")) != text_of(bob.locator(".message:not(.mine)"))
    assert [len(kept(server, user)) for user in ("ada", "bob")] == [1, 0]
    assert page.evaluate("localStorage.length") == 0


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


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing(visit: Open, server: Running, seen: Seen, screen: str) -> None:
    forget(server)
    page = visit(None, **SCREENS[screen])
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
    page.route("**/v1/chat/completions", lambda route: None)  # never answered
    page.get_by_label("Your message").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Writing …", exact=True).wait_for()
    found["streaming"] = findings(page)
    page.get_by_role("button", name="Stop").click()
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


def test_of_a_private_conversation_nothing_is_kept_here_or_there(visit: Open, server: Running) -> None:
    forget(server)
    page = visit()
    page.get_by_role("switch", name="Private").check()
    expect_that(page.get_by_text("nothing of this conversation is kept")).to_be_visible()
    page.get_by_label("Your message").fill("A question in private")
    page.get_by_role("button", name="Send").click()
    answer = page.locator(".message:not(.mine)").first
    expect_that(answer).to_have_attribute("aria-busy", "false")
    assert answer.get_by_role("button", name="Good").count() == 0
    assert page.get_by_role("button", name="Two answers").count() == 0
    assert "in private" not in page.evaluate("JSON.stringify({...localStorage})")
    page.get_by_role("switch", name="Private").uncheck()
    expect_that(page.locator(".message")).to_have_count(0)
    assert kept(server) == []


def test_a_pause_is_seen_and_ended(visit: Open, server: Running, seen: Seen) -> None:
    forget(server)
    page = visit()
    page.get_by_role("button", name="Pause").click()
    expect_that(page.get_by_text("Paused: nothing is recorded.")).to_be_visible()
    page.get_by_label("A wish, in your own words").fill(WISH)
    page.get_by_role("button", name="Tell", exact=True).click()
    expect_that(page.get_by_role("alert")).to_contain_text("this user paused it")
    seen.errors.remove("Failed to load resource: the server responded with a status of 409 (Conflict)")
    page.get_by_role("button", name="Resume").click()
    expect_that(page.get_by_role("button", name="Pause")).to_be_visible()
    assert "be concise and brief" in tell(page, f"For the next three answers, {WISH}")
    expect_that(page.locator(".known")).to_contain_text("for 3 more answers")
    forget(server)
