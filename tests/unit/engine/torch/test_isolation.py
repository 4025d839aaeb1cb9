"""Whatever fails in a step fails its own row: the neighbours finish with the tokens they would have had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pad_langchain.engine import Request, WeightedPreference
from pad_langchain.engine.detokenize import TextStream
from pad_langchain.engine.grammar import GrammarState
from pad_langchain.engine.local import arrangement
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.models.kv.prefixes import PrefixStore
from pad_langchain.models.prompts import Prompts
from pad_langchain.models.rows import Rows
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.testing import TinyPair, paused, tiny_tokenizer

BAD_PROMPT = len(Prompts(tiny_tokenizer()).render([{"role": "user", "content": "what?"}]))
WISH = [WeightedPreference("be kind", 1.5)]


@pytest.fixture
def endless_engine(pair: TinyPair) -> Iterator[TorchEngine]:
    with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
        assert engine.grammars.vocab_size  # made while the engine knows its end tokens
        engine.end_tokens = frozenset()
        yield engine


def ask(user: str, **settings: Any) -> Request:
    return Request([{"role": "user", "content": user}], **{"max_tokens": 24, **settings})


def neighbours(engine: TorchEngine) -> list[Request]:
    number = engine.grammars.json_schema({"type": "array", "items": {"type": "integer"}, "minItems": 9})
    return [
        ask("hello there"),
        ask("why is it so?", preferences=WISH),
        ask("how?", temperature=1.3, seed=5),
        ask("and this?", temperature=1.1, seed=6, preferences=WISH),
        ask("numbers", grammar=number, temperature=1.0, seed=7),
    ]


class Broken(BaseException):
    """As panics of Rust arrive in Python: no Exception."""


def method(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, bad: Callable[..., bool], error: Any) -> None:
    """Let a function raise whenever `bad` says so of its arguments."""
    right = getattr(owner, name)

    def broken(*args: Any, **kwargs: Any) -> Any:
        if bad(*args):
            raise error
        return right(*args, **kwargs)

    monkeypatch.setattr(owner, name, broken)


def is_bad(rows: Any) -> bool:
    return any(row.request.salt == "bad" and row.index >= 3 for row in rows)


def reads_too_far(rows: Rows, tokens_BT: Any) -> bool:
    """Whether the bad row would have more than a few tokens of an answer."""
    grown = tokens_BT.numel() // len(rows.lengths)
    return any(
        salt == "bad" and length + grown > BAD_PROMPT + 3 for salt, length in zip(rows.salts, rows.lengths, strict=True)
    )


# where it fails: (owner, name, when)
PLACES: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "the forward of a step": (Rows, "step", lambda rows, tokens: reads_too_far(rows, tokens)),
    "choosing without a guide": (arrangement, "choose_plain", lambda ask, *_: is_bad(ask.rows)),
    "choosing under a guide": (arrangement, "choose_guided", lambda ask, *_: is_bad(ask.rows)),
    "masks": (arrangement, "mask_illegal", lambda _, rows: is_bad(rows)),
}


@pytest.mark.parametrize("error", [RuntimeError("broken"), Broken("broken")], ids=["error", "panic"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("settings", [{}, {"preferences": WISH}], ids=["plain", "guided"])
def test_a_step_that_cannot_run_a_row_runs_the_others(
    endless_engine: TorchEngine,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    error: BaseException,
    settings: dict[str, Any],
) -> None:
    requests = neighbours(endless_engine)
    expected = [endless_engine.submit(request).result(60).token_ids for request in requests]
    owner, name, bad = PLACES[place]
    method(monkeypatch, owner, name, bad, error)
    with paused(endless_engine):
        culprit = endless_engine.submit(ask("what?", salt="bad", **settings))
        streams = [endless_engine.submit(request) for request in requests]
    if (place, bool(settings)) in (("choosing without a guide", True), ("choosing under a guide", False)):
        assert culprit.result(60).completion_tokens == 24  # it does not come by there
    else:
        with pytest.raises(RuntimeError, match="broken"):
            culprit.result(60)
    assert [stream.result(60).token_ids for stream in streams] == expected


@pytest.mark.parametrize("error", [RuntimeError("broken"), Broken("broken")], ids=["error", "panic"])
@pytest.mark.parametrize("place", ["text", "held text", "candidates' text", "mask", "accept"])
def test_what_only_one_row_reads_fails_that_row(
    endless_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    requests = neighbours(endless_engine)[:4]
    expected = [endless_engine.submit(request).result(60).token_ids for request in requests]
    settings: dict[str, Any] = {"stop": ["MARK"], "candidates": 3}
    if place in ("mask", "accept"):
        method(monkeypatch, GrammarState, place, lambda *_: True, error)
        settings["grammar"] = endless_engine.grammars.json_schema({"type": "string"})
    else:
        make, right = TextStream.__init__, {"text": "push", "held text": "flush", "candidates' text": "of"}[place]

        def marked(text: TextStream, backend: Any, stop: Any = (), *args: Any, **kwargs: Any) -> None:
            make(text, backend, stop, *args, **kwargs)
            if "MARK" in stop:
                setattr(text, right, broken)

        def broken(*_: Any) -> Any:
            raise error

        monkeypatch.setattr(TextStream, "__init__", marked)
    with paused(endless_engine):
        culprit = endless_engine.submit(ask("what?", **settings))
        streams = [endless_engine.submit(request) for request in requests]
    with pytest.raises(RuntimeError, match="broken"):
        culprit.result(60)
    assert [stream.result(60).token_ids for stream in streams] == expected


@pytest.mark.parametrize("owner", [Rows, PrefixStore])
def test_a_cache_that_cannot_lose_or_keep_a_row_is_made_anew(
    endless_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, owner: Any
) -> None:
    requests = neighbours(endless_engine)
    expected = [endless_engine.submit(request).result(60).token_ids for request in requests]
    short = endless_engine.submit(ask("what?", max_tokens=5)).result(60).token_ids
    with paused(endless_engine):
        culprit = endless_engine.submit(ask("what?", max_tokens=5))
        streams = [endless_engine.submit(request) for request in requests]
        if owner is Rows:
            method(monkeypatch, Rows, "keep", lambda *_: True, RuntimeError("broken"))
    if owner is PrefixStore:
        next(iter(streams[0]))
        method(monkeypatch, PrefixStore, "add", lambda *_: True, RuntimeError("broken"))
    assert culprit.result(60).token_ids == short
    if owner is Rows:
        assert [stream.result(60).token_ids for stream in streams] == expected


def test_a_fault_that_passes_costs_nobody_a_token(endless_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = neighbours(endless_engine)
    expected = [endless_engine.submit(request).result(60).token_ids for request in requests]
    once = iter([False, False, True])
    method(monkeypatch, Rows, "step", lambda *_: next(once, False), RuntimeError("passing"))
    with paused(endless_engine):
        streams = [endless_engine.submit(request) for request in requests]
    assert [stream.result(60).token_ids for stream in streams] == expected


def test_rows_that_fail_only_together_end_together(
    endless_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    method(monkeypatch, arrangement, "mask_illegal", lambda _, rows: len(rows) > 1, RuntimeError("never two"))
    with paused(endless_engine):
        streams = [endless_engine.submit(ask(text)) for text in ("hello", "why?")]
    for stream in streams:
        with pytest.raises(RuntimeError, match="never two"):
            stream.result(60)
    assert endless_engine.submit(ask("hello")).result(60).completion_tokens == 24


def test_who_watches_and_fails_harms_nobody(endless_engine: TorchEngine) -> None:
    def watcher(_: Any) -> None:
        raise RuntimeError("blind")

    endless_engine.watch(watcher)
    assert endless_engine.submit(ask("hello")).result(60).completion_tokens == 24


def test_a_guide_that_cannot_weigh_one_row_weighs_the_others(
    pair: TinyPair, endless_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(endless_engine.guide, HeadGuide)
    requests = neighbours(endless_engine)
    expected = [endless_engine.submit(request).result(60).token_ids for request in requests]
    method(
        monkeypatch,
        arrangement,
        "score_candidates",
        lambda _found, _guide, beta_N, **_: bool((beta_N == 77.0).any()),
        RuntimeError("broken"),
    )
    with paused(endless_engine):
        culprit = endless_engine.submit(ask("what?", preferences=WISH, beta=77.0))
        streams = [endless_engine.submit(request) for request in requests]
    with pytest.raises(RuntimeError, match="broken"):
        culprit.result(60)
    assert [stream.result(60).token_ids for stream in streams] == expected
