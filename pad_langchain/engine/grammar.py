"""Grammars that mask illegal tokens: JSON schemas, Lark, and tool calls, compiled by llguidance.

A `GrammarCompiler` knows a tokenizer. A `Grammar` is compiled once and shared. A `GrammarState` follows one answer.
The mask goes onto the base's logits before the candidates are taken, so guidance can only choose among legal tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from pad_langchain.engine.json_schema import bounded, culprit
from pad_langchain.errors import InvalidRequestError

__all__ = ["Grammar", "GrammarCompiler", "GrammarState"]

# As `json.dumps` writes it and models learn it; free whitespace would let a model write blanks for ever.
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

_CALL_ID = "ID: /[a-zA-Z0-9]{9}/"

_NO_TOKEN = "it allows no token of the vocabulary, which may lack a character. Change the schema, or use another model"


class GrammarCompiler:
    """Compiles grammars for one tokenizer. Making one takes up to a second, so keep it.

    Args:
        tokenizer: a fast tokenizer, of byte-level BPE or with byte fallback.
        vocab_size: V of the model's logits, which may exceed the tokenizer's.
        end_tokens: ids that may end an answer. None means the tokenizer's end of sequence.
        max_string: characters at most of a JSON string whose schema sets no limit.

    Raises:
        InvalidRequestError: llguidance cannot read the tokenizer's tokens.
    """

    def __init__(
        self, tokenizer: Any, vocab_size: int, end_tokens: Iterable[int] | None = None, *, max_string: int = 1024
    ) -> None:
        ends = None if end_tokens is None else sorted(end_tokens)
        self.vocab_size, self.max_string = vocab_size, max_string
        try:
            self._tokenizer: LLTokenizer = from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=ends)
        except Exception as error:  # ValueError, or whatever a tokenizer of another make raises
            raise InvalidRequestError(
                "Tool calls and structured output need a fast tokenizer, of byte-level BPE or with byte fallback, but "
                f"this {type(tokenizer).__name__} is none ({error}). Use another model, or ask for plain text."
            ) from error
        # These match as one token and never as text, so Lark wants their ids.
        special = {
            str(token): index
            for index, token in tokenizer.added_tokens_decoder.items()
            if self._tokenizer.is_special_token(index)
        }
        self._special = dict(sorted(special.items(), key=lambda item: -len(item[0])))

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """Compile the grammar of one JSON value valid under `schema`, written as `json.dumps` writes it.

        Raises:
            InvalidRequestError: the schema cannot be compiled. The message names the field.
        """
        return self._compile(f"start: %json {json.dumps(self._styled(schema))}", [("the answer", schema)])

    def lark(self, source: str) -> Grammar:
        """Compile a grammar in llguidance's dialect of Lark, from the rule `start`.

        Raises:
            InvalidRequestError: it cannot be compiled.
        """
        return self._compile(source)

    def tool_calls(
        self,
        tools: Sequence[Mapping[str, Any]],
        *,
        choice: str = "required",
        parallel: bool = False,
        begin: str = "<tool_call>\n",
        end: str = "\n</tool_call>",
        separator: str = "\n",
        name_key: str = "name",
        arguments_key: str = "arguments",
        between: Sequence[str] | None = None,
        otherwise: Mapping[str, Any] | None = None,
        thought: tuple[str, str] | None = None,
    ) -> Grammar:
        """Compile calls of `tools`, by default as Hermes: `<tool_call>\\n{"name": …, "arguments": {…}}\\n</tool_call>`.

        Args:
            tools: JSON schemas as in OpenAI's API (`{"type": "function", "function": {…}}`) or their inner part.
            choice: "required" (a call), "auto" (text, then perhaps a call), or a tool's name (a call of that tool).
            parallel: whether several calls may follow each other, joined by `separator`.
            begin, end: what stands around a call. Special tokens in them match as tokens.
            separator: what stands between two calls.
            name_key, arguments_key: the keys of the call's JSON object.
            between: writes a call as its name, these texts, and its arguments as JSON. Between two texts stands a call
                id of nine letters and digits. None means a call is one JSON object.
            otherwise: with "auto", the schema of an answer without a call. None means such an answer is text.
            thought: the texts before and after reasoning that may come first. With "" as the first, the prompt has
                begun the reasoning and the answer has to end it. None means there is no reasoning.

        Raises:
            InvalidRequestError: there are no tools, `choice` names none of them, or a schema cannot be compiled.
        """
        functions = _allowed([tool.get("function", tool) for tool in tools], choice)
        if between is None:
            calls = [self._object_call(function, name_key, arguments_key) for function in functions]
        else:
            calls = [self._named_call(function, between) for function in functions]
        again = f"({self._literal(separator)} call)*" if parallel else ""
        lines = [
            f"call: {self._literal(begin)} body {self._literal(end)}",
            f"again: {again}" if again else 'again: ""',
            "body: " + "\n    | ".join(calls),
        ]
        lines += ["start: answer"] if thought is None else self._thought(*thought)
        lines += self._answer(choice, begin, otherwise)
        schemas = [(f"tool {function['name']!r}", function.get("parameters") or {}) for function in functions]
        schemas += [] if otherwise is None else [("the answer", otherwise)]
        blank = self._literal(begin[len(begin.rstrip()) :])
        rest = [*lines[:3], f"start: {blank} body {self._literal(end)} again", _CALL_ID]
        return self._compile("\n".join([*lines, _CALL_ID]), schemas, "\n".join(rest))

    def _answer(self, choice: str, begin: str, otherwise: Mapping[str, Any] | None) -> list[str]:
        """The rule `answer`: calls, or what may stand in their place."""
        if choice != "auto":
            return ["answer: call again"]
        if otherwise is not None:
            return ["answer: form | call again", f"form: %json {json.dumps(self._styled(otherwise))}"]
        if not begin.strip():
            # Nothing but its first character tells such a call from text.
            return ["answer: TEXT | call again", r"TEXT: /[^\s{](.|\n)*/"]
        return ["answer: TEXT (call again)? | call again", f"TEXT: {self._text_without(begin)}"]

    def _object_call(self, function: Mapping[str, Any], name_key: str, arguments_key: str) -> str:
        parameters = dict(function.get("parameters") or {})
        # References count from the root, so definitions move there with the arguments one level down.
        shared = {key: parameters.pop(key) for key in ("$defs", "definitions") if key in parameters}
        schema = {
            **shared,
            "type": "object",
            "properties": {
                name_key: {"const": function["name"]},
                arguments_key: {"type": "object", "additionalProperties": False, **parameters},
            },
            "required": [name_key, arguments_key],
            "additionalProperties": False,
        }
        return f"%json {json.dumps(self._styled(schema))}"

    def _named_call(self, function: Mapping[str, Any], between: Sequence[str]) -> str:
        schema = {"type": "object", "additionalProperties": False, **(function.get("parameters") or {})}
        joint = " ID ".join(self._literal(text) for text in between)
        return f"{json.dumps(function['name'])} {joint} %json {json.dumps(self._styled(schema))}"

    def _thought(self, begin: str, end: str) -> list[str]:
        return [
            f"start: {'thought? answer' if begin else 'thought answer'}",
            f"thought: {self._literal(begin)} THOUGHT? {self._literal(end)} GAP?",
            f"THOUGHT: {self._text_without(end)}",
            r"GAP: /\n+/",
        ]

    def _text_without(self, marker: str) -> str:
        """A terminal for text without `marker`. A special token never is text. Another marker is ruled out."""
        rest = "" if self._starts_special(marker) else f" & ~(/(.|\\n)*/ {json.dumps(marker)} /(.|\\n)*/)"
        return f"/(.|\\n)+/{rest}"

    def _compile(
        self, source: str, schemas: Sequence[tuple[str, Mapping[str, Any]]] = (), rest: str | None = None
    ) -> Grammar:
        """Compile Lark, or say which of `schemas`, each with its owner's name, and which field of it is to blame."""
        grammar = LLMatcher.grammar_from_lark(source)
        reason = self._error(grammar)
        if reason is not None:
            for owner, schema in schemas:
                field, inner = culprit(schema, self._schema_error)
                if inner is not None:
                    at = f" at {field!r}" if field else ""
                    raise InvalidRequestError(
                        f"The JSON schema of {owner} cannot be compiled{at}: {inner}. Leave this out of the schema, or "
                        "say it in a description and check it afterwards."
                    )
            raise InvalidRequestError(f"This grammar cannot be compiled: {reason}")
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        return Grammar(matcher, self._tokenizer, self.vocab_size, source, rest)

    def _schema_error(self, schema: Mapping[str, Any]) -> str | None:
        return self._error(LLMatcher.grammar_from_json_schema(self._styled(schema)))

    def _error(self, grammar: str) -> str | None:
        # llguidance never raises: a broken grammar is an error state that has to be asked for.
        error = LLMatcher.validate_grammar(grammar, self._tokenizer)
        if not error or error.startswith("WARNING"):
            return None
        reason = error.strip()
        if "JSON schema" in reason:
            reason = reason.partition("\n   1 | ")[0]  # the rest shows the grammar around the schema
        if "regex parse error" in reason:
            reason += "\nin the keyword `pattern`"
        return reason

    def _styled(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {"x-guidance": JSON_STYLE, **bounded(schema, self.max_string)}

    def _starts_special(self, text: str) -> bool:
        return any(text.startswith(token) for token in self._special)

    def _literal(self, text: str) -> str:
        """`text` as Lark: special tokens by id, everything else quoted."""
        for token, index in self._special.items():
            before, found, after = text.partition(token)
            if found:
                return " ".join(filter(None, (self._literal(before), f"<[{index}]>", self._literal(after))))
        return json.dumps(text, ensure_ascii=False) if text else ""


class Grammar:
    """A compiled grammar. It is immutable, so requests may share it.

    Args:
        vocab_size: V of the logits that its masks are for.
        source: what it was compiled from, in llguidance's dialect of Lark.
        rest: of calls, what may follow the mark that begins the first. None means the grammar is of something else.
    """

    def __init__(
        self, matcher: LLMatcher, tokenizer: LLTokenizer, vocab_size: int, source: str, rest: str | None = None
    ) -> None:
        self._matcher, self._tokenizer, self.vocab_size = matcher, tokenizer, vocab_size
        self.source, self.rest = source, rest

    def start(self) -> GrammarState:
        """Return the state before the first token of an answer."""
        return GrammarState(self._matcher.deep_copy(), self._tokenizer, self.vocab_size)


class GrammarState:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: LLMatcher, tokenizer: LLTokenizer, vocab_size: int) -> None:
        self._matcher, self._tokenizer, self._vocab_size = matcher, tokenizer, vocab_size
        self._tokens: list[int] = []
        self._check()

    @property
    def finished(self) -> bool:
        """Whether the answer is complete and nothing but its end may follow."""
        return self._matcher.is_stopped()

    def mask(self) -> np.ndarray:
        """Return which tokens may come next, bool [V]. An end token is True where the answer may end.

        Raises:
            InvalidRequestError: the grammar cannot go on, because it is too complex or no token is left.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        legal_V = np.unpackbits(bits, bitorder="little")[: self._vocab_size].astype(bool)
        if not legal_V.any():
            raise self._failed(_NO_TOKEN)
        return legal_V

    def accept(self, token_id: int) -> None:
        """Move on by a token that the last mask allowed.

        Raises:
            InvalidRequestError: the grammar does not allow the token here.
        """
        self._matcher.consume_token(token_id)
        self._check()
        self._tokens.append(token_id)

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = self._matcher.get_error().strip().splitlines()[0]
            lacking = reason == "NoExtensionBias" or "forced bytes" in reason
            raise self._failed(_NO_TOKEN if lacking else reason)

    def _failed(self, reason: str) -> InvalidRequestError:
        # What was written names the tool and the field.
        written = self._tokenizer.decode_str(self._tokens)
        return InvalidRequestError(f"The grammar failed after {written[-200:]!r}: {reason}.")


def _allowed(functions: Sequence[Mapping[str, Any]], choice: str) -> Sequence[Mapping[str, Any]]:
    """The functions that `choice` leaves to be called, at least one."""
    names = [function["name"] for function in functions]
    if choice not in ("required", "auto"):
        if choice not in names:
            raise InvalidRequestError(
                f"choice has to be 'required', 'auto' or a tool's name ({names!r}), but is {choice!r}."
            )
        functions = [function for function in functions if function["name"] == choice]
    if not functions:
        raise InvalidRequestError("There are no tools to call. Pass at least one, or no grammar.")
    return functions
