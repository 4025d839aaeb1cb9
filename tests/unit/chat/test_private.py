"""A private call: nothing of it is kept, whichever face it came from and however it ends."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from rich.console import Console

from pad_langchain import PADLLM, ChatPAD, InvalidRequestError
from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.cli.chat import ChatSession
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory, Statement, Values
from pad_memory.errors import UnknownResponseError

WISH = "be concise and brief"
SECRET = "zebrafish quartz lullaby"  # words that nothing else has


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    base, persrm = tiny_pair().save(tmp_path_factory.mktemp("pair"))
    return str(base), str(persrm)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[PreferenceMemory]:
    with PreferenceMemory(tmp_path / "m", embedder=HashEmbedder(), values=Values(classifier=False)) as memory:
        memory.record("ada", Statement(WISH))
        yield memory


def settings(folders: tuple[str, str], memory: PreferenceMemory, **more: Any) -> dict[str, Any]:
    return {"reward_model": folders[1], "memory": memory, "max_tokens": 8, "embedder": HashEmbedder(), **more}


@pytest.fixture
def chat(folders: tuple[str, str], memory: PreferenceMemory) -> Chat:
    return Chat.of(folders[0], ChatSettings(**settings(folders, memory)))


def asked(chat: Chat, text: str = SECRET, **options: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return chat.submit(messages, CallOptions(user_id="ada", **options)).result()


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_nothing_known_steers_unless_it_is_asked_for(chat: Chat) -> None:
    plain, steered, usual = (asked(chat, private=private).pad for private in (True, "steered", None))
    assert (plain["condition"], plain["user"], plain["private"]) == ([], None, True)
    assert [item["text"] for item in steered["condition"]] == [WISH]
    assert (steered["user"], steered["private"]) == ("ada", "steered")
    assert "private" not in usual


@pytest.mark.parametrize("private", [True, "steered"])
def test_no_answer_and_no_prefix_is_kept(chat: Chat, memory: PreferenceMemory, private: Any) -> None:
    chat.engine.forget_prefixes()
    before = chat.engine.stats.reused_tokens
    events = memory.events("ada")
    for _ in range(2):
        response_id = asked(chat, private=private).pad["response_id"]
        with pytest.raises(UnknownResponseError):
            memory.responses.find("ada", response_id)
    assert chat.engine.stats.reused_tokens == before
    assert memory.events("ada") == events
    kept = asked(chat).pad["response_id"]
    assert memory.responses.find("ada", kept)[0] == SECRET
    asked(chat)
    assert chat.engine.stats.reused_tokens > before


def test_answers_in_private_do_not_count(chat: Chat, memory: PreferenceMemory) -> None:
    memory.record("ada", Statement("For the next two answers, use a formal and polite tone."))
    asked(chat, private="steered")
    asked(chat)
    assert [item.answers_left for item in memory.profile("ada").preferences] == [1, None]


def test_a_user_who_paused_is_steered_and_no_answer_of_theirs_is_kept(chat: Chat, memory: PreferenceMemory) -> None:
    memory.pause("ada")
    pad = asked(chat).pad
    assert [item["text"] for item in pad["condition"]] == [WISH]
    with pytest.raises(UnknownResponseError):
        memory.responses.find("ada", pad["response_id"])


def test_a_call_that_fails_half_way_leaves_nothing(chat: Chat, memory: PreferenceMemory, tmp_path: Path) -> None:
    events = memory.events("ada")
    turn = chat.submit([{"role": "user", "content": SECRET}], CallOptions(user_id="ada", private="steered"))
    deltas = iter(turn)
    next(deltas)
    deltas.close()  # type: ignore[attr-defined]  # the client is gone
    assert (len(memory.responses), memory.events("ada")) == (0, events)
    assert b"zebrafish" not in bytes_of(tmp_path)


def test_not_a_byte_of_the_text_is_in_any_file(
    folders: tuple[str, str], memory: PreferenceMemory, tmp_path: Path
) -> None:
    cache = InMemoryCache()
    llm = ChatPAD(model=folders[0], cache=cache, **settings(folders, memory))
    config = {"configurable": {"user_id": "ada", "private": "steered"}}
    answer = llm.invoke(SECRET, config=config).text  # type: ignore[arg-type]
    assert list(llm.stream(SECRET, user_id="ada", private=True))
    ChatPAD(model=folders[0], **settings(folders, memory, private=True)).invoke(SECRET, user_id="ada")
    PADLLM(model=folders[0], **settings(folders, memory)).complete(SECRET, user_id="ada", private=True)
    out = io.StringIO()
    chat = Chat.of(folders[0], ChatSettings(**settings(folders, memory)))
    session = ChatSession(lambda: chat, memory, "ada", Console(file=out, width=200, highlight=False))
    for line in ("/private", SECRET, "/private steered", SECRET):
        session.handle(line)
    assert cache._cache == {}
    assert len(memory.responses) == 0
    llm.invoke("public words", user_id="ada")
    memory.record("ada", Statement("public wish"))
    memory.close()
    whole = bytes_of(tmp_path)
    assert b"public wish" in whole  # so that this looks where things are kept
    for word in SECRET.split():
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert word.encode(encoding) not in whole
    assert answer.strip() == "" or answer.encode() not in whole


def test_private_in_the_command(folders: tuple[str, str], memory: PreferenceMemory) -> None:
    out = io.StringIO()
    chat = Chat.of(folders[0], ChatSettings(**settings(folders, memory)))
    session = ChatSession(lambda: chat, memory, "ada", Console(file=out, width=200, highlight=False))
    session.handle("hello")
    session.handle("/private")
    assert session.conversation.history == []
    assert session._prompt().startswith("ada (private)>") or "(private)" in session._prompt()
    session.handle(SECRET)
    with pytest.raises(InvalidRequestError, match="is private: nothing of it is kept"):
        session.handle("/like")
    with pytest.raises(InvalidRequestError, match="on, off or steered, but got 'perhaps'"):
        session.handle("/private perhaps")
    session.handle("/private off")
    assert (session.conversation.history, session.conversation.private) == ([], False)
    session.handle("/pause")
    assert memory.paused("ada")
    session.handle("/resume")
    session.handle("/prefer Until 3 March 2020, use emojis")
    assert "The time that it names is over" in out.getvalue()


def test_the_command_asks_before_it_keeps_something_sensitive(folders: tuple[str, str]) -> None:
    out = io.StringIO()
    values = Values(classifier=False, sensitive="ask")
    with PreferenceMemory(embedder=HashEmbedder(), values=values) as memory:
        chat = Chat.of(folders[0], ChatSettings(**settings(folders, memory)))
        session = ChatSession(lambda: chat, memory, "ada", Console(file=out, width=200, highlight=False))
        session.handle("/prefer I have asthma, so be calm.")
        session.handle("no")
        assert memory.events("ada") == ()
        session.handle("/prefer I have asthma, so be calm.")
        session.handle("yes")
        assert len(memory.events("ada")) == 1
        session.handle("/forget")
        assert "1 pieces of feedback of ada (sensitive: 1 health) for good" in out.getvalue()
        chat.engine.close()


@pytest.mark.parametrize("private", ["yes", 1, []])
def test_another_value_is_refused(private: Any) -> None:
    with pytest.raises(InvalidRequestError, match="private has to be True, False or 'steered'"):
        CallOptions(private=private)
