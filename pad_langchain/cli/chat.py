"""One conversation in a terminal or from a pipe: `ChatSession` takes a line, answers it or obeys its command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pad_langchain.errors import InvalidRequestError, PadError
from pad_memory.errors import PadMemoryError

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from pad_langchain.langchain.chat_model import ChatPAD
    from pad_memory import Feedback, PreferenceMemory
    from pad_memory.profile.elicitation import Question

__all__ = ["ChatSession", "profile_table"]

HELP = """\
/user NAME       talk as somebody else, in a new conversation
/like, /dislike  judge the last answer; /dislike TEXT says what is wrong with it
/rate N          1 (worst) to 5 (best)
/prefer TEXT     say what you like: /prefer be concise
/edit TEXT       the last answer as it should have been
/compare [TEXT]  two answers side by side; pick 1, 2, or 0: no difference
/profile         what is known about you, and why
/why             which words of the last answer were guided, and over what
/beta X          guidance strength; 0 is the base model
/forget          erase everything about you (asks)
/help, /quit"""


MOST_QUESTIONS = 8  # tried for two answers that differ; each costs two answers


@dataclass
class Exchange:
    """A question, its answer, and how each of its tokens was chosen (`logprobs.content`)."""

    prompt: str
    response: str
    tokens: list[dict[str, Any]] = field(default_factory=list)


class ChatSession:
    """The state of one conversation: who talks, what was said, and a question that waits for 0, 1, 2 or yes.

    Args:
        llm: answers; its memory is `memory`.
        memory: where feedback goes.
        user: who talks.
        console: where answers go.
        interactive: prompts, colours and status lines; without them errors end the session.
        echo: repeat every line before its answer, for transcripts.
    """

    def __init__(
        self,
        llm: ChatPAD,
        memory: PreferenceMemory,
        user: str,
        console: Console,
        *,
        interactive: bool = False,
        echo: bool = False,
    ) -> None:
        self.llm, self.memory, self.user, self.console = llm, memory, user, console
        self.interactive, self.echo = interactive, echo
        self.history: list[BaseMessage] = []
        self.last: Exchange | None = None
        self.beta: float | None = None
        self.done = False
        self._waiting: Callable[[str], bool] | None = None
        self.commands: dict[str, Callable[[str], None]] = {
            "user": self.change_user,
            "like": lambda text: self.judge(True, text),
            "dislike": lambda text: self.judge(False, text),
            "rate": self.rate,
            "prefer": self.prefer,
            "edit": self.edit,
            "compare": self.compare,
            "profile": lambda text: self.console.print(profile_table(self.memory, self.user)),
            "why": self.why,
            "beta": self.change_beta,
            "forget": self.forget,
            "help": lambda text: self.say(HELP),
            "quit": lambda text: setattr(self, "done", True),
        }

    # ---- the loop

    def run(self, source: TextIO) -> None:
        """Read lines until /quit or the end of the input.

        Raises:
            PadError, PadMemoryError: not interactive, and a line was refused.
        """
        if self.interactive:
            with self.console.status("Loading the model …"):
                self.llm.get_num_tokens("")
            self.say("Ask something, or /help. What you /like or /prefer changes the next answers.")
        for line in self._lines(source):
            if self.echo:
                self.say(f"{self.user}> {line.strip()}")
            try:
                self.handle(line)
            except (PadError, PadMemoryError) as error:
                if not self.interactive:
                    raise
                self.console.print(f"error: {error}", style="red", markup=False)
            except KeyboardInterrupt:  # stops the answer, not the session
                if not self.interactive:
                    raise
                self.console.print("\n(stopped)")
            if self.done:
                return

    def _lines(self, source: TextIO) -> Iterable[str]:
        if not self.interactive:
            yield from source
            return
        import readline  # noqa: F401  line editing for input()

        while True:
            try:
                yield self.console.input(f"[bold cyan]{escape(self.user)}>[/] ")
            except (EOFError, KeyboardInterrupt):
                self.console.print()
                return

    def handle(self, line: str) -> None:
        """Obey a /command, answer a question that waits, or answer the user."""
        line = line.strip()
        if not line:
            return
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting(line):
            return
        if not line.startswith("/"):
            self.answer(line)
            return
        name, _, text = line[1:].partition(" ")
        if name not in self.commands:
            known = ", ".join(f"/{command}" for command in self.commands)
            raise InvalidRequestError(f"There is no command /{name}. There are: {known}.")
        self.commands[name](text.strip())

    def say(self, text: str) -> None:
        self.console.print(_printable(text), markup=False, soft_wrap=True)

    # ---- answers

    def answer(self, question: str) -> None:
        """Stream the answer to `question` and remember both."""
        from langchain_core.messages import AIMessage, HumanMessage

        messages = self._fitting([*self.history, HumanMessage(question)])
        text, tokens = "", []
        for chunk in self.llm.stream(messages, **self._settings(), logprobs=True, top_logprobs=min(3, self.llm.top_k)):
            piece = str(chunk.content)
            text += piece
            tokens += chunk.response_metadata.get("logprobs", {}).get("content", [])
            self.console.print(_printable(piece), end="", markup=False, soft_wrap=True)
            self.console.file.flush()
        self.console.print()
        self.history = [*messages, AIMessage(text)]
        self.last = Exchange(question, text, tokens)

    def _settings(self) -> dict[str, Any]:
        return {"user_id": self.user, **({} if self.beta is None else {"beta": self.beta})}

    def _fitting(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """Drop the oldest turns until the rest and an answer fit the context."""
        from langchain_core.messages import trim_messages

        context = (self.llm.profile or {}).get("max_input_tokens")
        if context is None:
            return messages
        room = context - min(self.llm.max_tokens, context // 2)
        trimmed = trim_messages(
            messages,
            max_tokens=room,
            token_counter=self.llm.get_num_tokens_from_messages,
            strategy="last",
            start_on="human",
        )
        # A single question that is too long is the engine's to refuse, with the counts.
        return trimmed or messages[-1:]

    # ---- feedback

    def _judged(self) -> Exchange:
        if self.last is None:
            raise InvalidRequestError("There is no answer to judge yet. Ask something first.")
        return self.last

    def _record(self, event: Feedback) -> None:
        event_id = self.memory.record(self.user, event)
        if refused := self.memory.profile(self.user).refused.get(event_id):
            self.say(f"Not taken: {refused.reason}.")
            return
        self._say_condition()

    def _say_condition(self) -> None:
        condition = self.memory.condition(self.user)
        steers = ", ".join(f"{item.text} ({item.weight:+.1f})" for item in condition)
        self.say(f"Noted. Next answers: {steers or 'as before'}")

    def judge(self, up: bool, text: str) -> None:
        """Record a thumb for the last answer; with words, a critique."""
        from pad_memory import Critique, Thumb

        last = self._judged()
        if text and not up:
            self._record(Critique(last.prompt, last.response, text))
        else:
            self._record(Thumb(last.prompt, last.response, up))

    def rate(self, text: str) -> None:
        """Record one to five stars for the last answer."""
        from pad_memory import Rating

        last = self._judged()
        self._record(Rating(last.prompt, last.response, _number("/rate", text, "3")))

    def prefer(self, text: str) -> None:
        """Record a preference in words."""
        from pad_memory import Statement

        self._record(Statement(_needed("/prefer", text, "be concise")))

    def edit(self, text: str) -> None:
        """Record how the last answer should have been."""
        from pad_memory import Edit

        last = self._judged()
        self._record(Edit(last.prompt, last.response, _needed("/edit", text, "a better answer")))

    def compare(self, text: str) -> None:
        """Show two answers that differ in what is least known of the user's taste, and wait for 1, 2 or 0."""
        prompt = text or self._judged().prompt
        question, left, right = self._two_answers(prompt)
        panels = [Panel(Text(_printable(answer)), title=str(number)) for number, answer in enumerate((left, right), 1)]
        if self.interactive:
            self.console.print(Columns(panels, equal=True, expand=True, width=max(30, self.console.width // 2 - 2)))
        else:
            self.say(f"1) {left}\n2) {right}")
        self.say("Which one? 1, 2, or 0 for no difference")
        self._waiting = lambda line: self._choose(line, question, prompt, left, right)

    def _choose(self, line: str, question: Question, prompt: str, left: str, right: str) -> bool:
        if line not in ("0", "1", "2"):
            return False
        event = question.choice(prompt, left, right, {"0": None, "1": 1, "2": 2}[line])
        self.last = Exchange(prompt, event.chosen)
        self._record(event)
        return True

    def _two_answers(self, prompt: str) -> tuple[Question, str, str]:
        """The question that teaches most, and its answers; the next question where they do not differ."""
        from pad_langchain.chat.compare import two_answers

        settings = {} if self.beta is None else {"beta": self.beta}
        questions = self.memory.questions(self.user)
        for question in questions[:MOST_QUESTIONS]:
            left, right = two_answers(self.llm, self.memory, self.user, question, prompt, **settings)
            if left.strip() and right.strip() and left != right:
                return question, left, right
        if not questions:
            raise InvalidRequestError("Your taste is known; there is nothing left to compare. See /profile.")
        raise InvalidRequestError(
            f"No two different answers to {prompt!r} were found. Ask something else, or raise /beta."
        )

    # ---- the user

    def change_user(self, text: str) -> None:
        """Talk as somebody else, in a new conversation."""
        self.memory.events(_needed("/user", text, "ada"))  # refuses a bad id before anything changes
        self.user, self.history, self.last = text, [], None
        self.say(f"Hello {text}.")

    def change_beta(self, text: str) -> None:
        """Set the guidance strength of the next answers."""
        self.beta = _number("/beta", text, "1.0")
        self.say(f"beta is {self.beta:g}")

    def forget(self, text: str) -> None:
        """Ask, then erase everything about the user."""
        count = len(self.memory.events(self.user))
        self.say(f"Erase all {count} pieces of feedback of {self.user} for good? Type yes")
        self._waiting = self._forget

    def _forget(self, line: str) -> bool:
        if line.lower() not in ("yes", "y"):
            self.say("Nothing was erased.")
            return line.lower() in ("no", "n")
        self.memory.forget(self.user)
        self.say(f"Forgot {self.user}.")
        return True

    def why(self, text: str) -> None:
        """Show the last answer coloured by reward, and the tokens that guidance pushed most."""
        last = self._judged()
        tokens = last.tokens
        if not tokens:
            raise InvalidRequestError(
                "The last answer was picked from two, its tokens were not kept. Ask something first."
            )
        if not last.response.endswith(tokens[-1]["token"]):  # the end-of-answer token is not part of the text
            tokens = [*tokens[:-1], {**tokens[-1], "token": "(end)"}]
        if self.interactive:
            self.console.print(
                Text.assemble(*((_printable(entry["token"]), _colour(entry["reward"])) for entry in tokens))
            )
        strongest = sorted(tokens, key=lambda entry: -abs(entry["reward"]))[:8]
        table = Table("reward", "token", "passed over", box=None, pad_edge=False)
        for entry in strongest:
            others = [other for other in entry["top_logprobs"] if other["token"] != entry["token"]]
            passed = ", ".join(f"{other['token']!r} {other['reward']:+.2f}" for other in others)
            table.add_row(f"{entry['reward']:+.2f}", Text(repr(entry["token"])), Text(passed))
        self.console.print(table)


def profile_table(memory: PreferenceMemory, user: str) -> Table | str:
    """What the memory knows about a user: preference, weight, confidence in [0, 1], where it comes from."""
    profile = memory.profile(user)
    if not profile.preferences:
        return f"Nothing is known about {user} yet."
    table = Table("preference", "weight", "sure", "why", box=None, pad_edge=False)
    for preference in profile.preferences:
        table.add_row(
            Text(preference.text),
            f"{preference.weight:+.2f}",
            f"{preference.confidence:.0%}",
            Text(str(profile.why(preference.key))),
        )
    return table


# Everything below the space but tab and line feed, and the C1 set: in a terminal they are commands, not text.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def _printable(text: str) -> str:
    return text.translate(_CONTROLS)


def _colour(reward: float) -> str:
    """Green for tokens the preferences wanted, red for those they did not; 2 nats is full colour."""
    strength = int(min(abs(reward) / 2, 1) * 200)
    if strength < 10:
        return ""
    return f"rgb(0,{55 + strength},0)" if reward > 0 else f"rgb({55 + strength},0,0)"


def _needed(command: str, text: str, example: str) -> str:
    if not text:
        raise InvalidRequestError(f"{command} needs a text, for example: {command} {example}")
    return text


def _number(command: str, text: str, example: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequestError(
            f"{command} needs a number, but got {text!r}. For example: {command} {example}"
        ) from None
