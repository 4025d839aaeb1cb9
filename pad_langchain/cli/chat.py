"""A conversation in a terminal or from a pipe. `ChatSession` answers lines and obeys commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TextIO

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from pad_langchain.cli.conversation import Conversation, Exchange
from pad_langchain.cli.show import coloured, guidance_table, printable, profile_table, sensitive_of
from pad_langchain.errors import InvalidRequestError, PadError
from pad_memory.errors import ConsentNeededError, PadMemoryError

if TYPE_CHECKING:
    from pad_langchain.chat import Chat
    from pad_memory import Feedback, PreferenceMemory
    from pad_memory.profile.elicitation import Question

__all__ = ["ChatSession"]

_STYLE = re.compile("\x1b\\[[0-9;]*m")

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
/private [X]     keep nothing of a new conversation: on, off, or steered, by what is known about you
/pause, /resume  record nothing about you until /resume
/forget          erase everything about you (asks)
/help, /quit"""


class ChatSession:
    """A conversation of lines and answers. It also keeps a question that waits for 0, 1, 2 or yes.

    Args:
        chat: returns what answers. It may wait until that has loaded.
        memory: the memory of what answers. Feedback goes there.
        user: id of the user who talks.
        console: where answers are printed.
        thread: id of the conversation. None means a new one.
        interactive: whether prompts, colours and status lines are shown. Without them, an error ends the session.
        echo: whether every line is printed before its answer, for transcripts.
    """

    def __init__(
        self,
        chat: Callable[[], Chat],
        memory: PreferenceMemory,
        user: str,
        console: Console,
        *,
        thread: str | None = None,
        interactive: bool = False,
        echo: bool = False,
    ) -> None:
        self.chat, self.memory, self.console = chat, memory, console
        self.conversation = Conversation(chat, user, thread)
        self.interactive, self.echo = interactive, echo
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
            "private": self.change_private,
            "pause": self.pause,
            "resume": self.resume,
            "forget": self.forget,
            "help": lambda text: self.say(HELP),
            "quit": lambda text: setattr(self, "done", True),
        }

    @property
    def user(self) -> str:
        """Id of the user who talks."""
        return self.conversation.user

    # ---- the loop

    def run(self, source: TextIO) -> None:
        """Read lines until /quit or the end of the input.

        Raises:
            PadError, PadMemoryError: not interactive, and a line was refused.
            typer.Exit: what answers did not load.
        """
        if self.interactive:
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
                yield input(self._prompt())
            except (EOFError, KeyboardInterrupt):
                self.console.print()
                return

    def _prompt(self) -> str:
        """Return the prompt for `input`. readline draws it, and is told which of its characters take no room."""
        with self.console.capture() as drawn:
            who = f"{printable(self.user)}{' (private)' if self.conversation.private else ''}>"
            self.console.print(Text(who, "bold cyan"), end=" ", soft_wrap=True)
        return _STYLE.sub("\001\\g<0>\002", drawn.get())

    def handle(self, line: str) -> None:
        """Handle one line: a /command, the reply to a question that waits, or a message to answer."""
        line = line.strip()
        if not line:
            return
        if line not in ("/help", "/quit"):
            self.chat()  # what the memory needs may be half imported until it has loaded
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
        self.console.print(printable(text), markup=False, soft_wrap=True)

    # ---- answers

    def answer(self, question: str) -> None:
        """Print the answer to `question` as it is made, and remember both."""
        with closing(self.conversation.ask(question)) as pieces:  # type: ignore[type-var]
            for piece in pieces:
                self.console.print(printable(piece), end="", markup=False, soft_wrap=True)
                self.console.file.flush()
        self.console.print()
        held = self.conversation.last.held_back if self.conversation.last is not None else ()
        for wish in held:
            self.say(f"(held back here: {wish['text']}, as {wish['reason']})")

    # ---- feedback

    def _record(self, event: Feedback, *, consented: bool = False) -> None:
        if self.conversation.private:
            raise InvalidRequestError("This conversation is private: nothing of it is kept. /private off ends that.")
        try:
            told = replace(event, thread=self.conversation.thread)
            event_id = self.memory.record(self.user, told, consented=consented)
        except ConsentNeededError as error:
            self.say(f"This tells something sensitive ({', '.join(error.sensitive)}). Keep it? Type yes")
            self._waiting = lambda line: self._consent(line, event)
            return
        profile = self.memory.profile(self.user)
        if refused := profile.refused.get(event_id):
            self.say(f"Not taken: {refused.reason}.")
            return
        if profile.expired_from(event_id) and not profile.learned_from(event_id):
            self.say("The time that it names is over, so it changes nothing.")
            return
        for item in profile.learned_from(event_id):
            if item.unread:
                self.say(f"Not read, as it is in {item.unread}: the prompt tells it in your own words.")
        steers = ", ".join(f"{item.text} ({item.weight:+.1f})" for item in self.conversation.steering())
        self.say(f"Noted. Next answers: {steers or 'as before'}")

    def _consent(self, line: str, event: Feedback) -> bool:
        if line.lower() not in ("yes", "y"):
            self.say("Nothing was kept.")
            return line.lower() in ("no", "n")
        self._record(event, consented=True)
        return True

    def judge(self, up: bool, text: str) -> None:
        """Record a thumb for the last answer. A thumb down with words becomes a critique."""
        from pad_memory import Critique, Thumb

        last = self.conversation.judged()
        if text and not up:
            self._record(Critique(last.prompt, last.response, text))
        else:
            self._record(Thumb(last.prompt, last.response, up))

    def rate(self, text: str) -> None:
        """Record 1 (worst) to 5 (best) stars for the last answer."""
        from pad_memory import Rating

        last = self.conversation.judged()
        self._record(Rating(last.prompt, last.response, _number("/rate", text, "3")))

    def prefer(self, text: str) -> None:
        """Record a preference in words."""
        from pad_memory import Statement

        self._record(Statement(_needed("/prefer", text, "be concise")))

    def edit(self, text: str) -> None:
        """Record how the last answer should have been."""
        from pad_memory import Edit

        last = self.conversation.judged()
        self._record(Edit(last.prompt, last.response, _needed("/edit", text, "a better answer")))

    def compare(self, text: str) -> None:
        """Show two answers that differ where the user's taste is least known, and wait for 1, 2 or 0."""
        prompt = text or self.conversation.judged().prompt
        question, left, right = self.conversation.two_answers(prompt)
        panels = [Panel(Text(printable(answer)), title=str(number)) for number, answer in enumerate((left, right), 1)]
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
        self.conversation.last = Exchange(prompt, event.chosen)
        self._record(event)
        return True

    # ---- the user

    def change_user(self, text: str) -> None:
        """Go on as another user, in a new conversation."""
        self.memory.events(_needed("/user", text, "ada"))  # refuses a bad id before anything changes
        self.conversation = Conversation(self.chat, text, beta=self.conversation.beta)
        self.say(f"Hello {text}.")

    def change_private(self, text: str) -> None:
        """Begin a conversation of which nothing is kept, or one of which it is."""
        known: dict[str, bool | Literal["steered"]] = {"on": True, "off": False, "steered": "steered"}
        if text not in ("", *known):
            raise InvalidRequestError(f"/private takes on, off or steered, but got {text!r}.")
        private = known[text] if text else not self.conversation.private
        # A new one, so that what was said in private is in no later prompt.
        self.conversation = Conversation(self.chat, self.user, beta=self.conversation.beta, private=private)
        steered = "what is known about you steers it" if private == "steered" else "nothing known steers it"
        kept = f"A new conversation of which nothing is kept; {steered}."
        self.say(kept if private else "A new conversation, which is kept.")

    def pause(self, text: str) -> None:
        """Record nothing about the user from now on."""
        self.memory.pause(self.user)
        self.say(f"Nothing about {self.user} is recorded until /resume.")

    def resume(self, text: str) -> None:
        """Record again."""
        self.memory.resume(self.user)
        self.say(f"Recording about {self.user} again.")

    def change_beta(self, text: str) -> None:
        """Set the guidance strength of the next answers."""
        self.conversation.beta = _number("/beta", text, "1.0")
        self.say(f"beta is {self.conversation.beta:g}")

    def forget(self, text: str) -> None:
        """Erase everything about the user, after asking."""
        count = len(self.memory.events(self.user))
        marked = sensitive_of(self.memory, self.user)
        self.say(f"Erase all {count} pieces of feedback of {self.user}{marked} for good? Type yes")
        self._waiting = self._forget

    def _forget(self, line: str) -> bool:
        if line.lower() not in ("yes", "y"):
            self.say("Nothing was erased.")
            return line.lower() in ("no", "n")
        self.memory.forget(self.user)
        self.say(f"Forgot {self.user}.")
        return True

    def why(self, text: str) -> None:
        """Show the last answer coloured by reward, and the tokens with the largest rewards, up or down."""
        last = self.conversation.judged()
        tokens = last.tokens
        if not tokens:
            raise InvalidRequestError(
                "The last answer was picked from two, its tokens were not kept. Ask something first."
            )
        if not last.response.endswith(tokens[-1]["token"]):  # the end-of-answer token is not part of the text
            tokens = [*tokens[:-1], {**tokens[-1], "token": "(end)"}]
        if self.interactive:
            self.console.print(coloured(tokens))
        self.console.print(guidance_table(tokens))


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
