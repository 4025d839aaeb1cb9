"""Output for a terminal: text without control characters, a profile, and what guided an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pad_memory.language import clock_time

if TYPE_CHECKING:
    from pad_memory import Preference, PreferenceMemory

__all__ = ["coloured", "guidance_table", "named", "printable", "profile_table", "sensitive_of"]

# Everything below the space but tab and line feed, and the C1 set: in a terminal they are commands, not text.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def printable(text: str) -> str:
    """Return the text with its control characters replaced, which a terminal would obey."""
    return text.translate(_CONTROLS)


def profile_table(memory: PreferenceMemory, user: str) -> Table | str:
    """Return a table of what is known about a user: preference, weight, confidence in [0, 1] and its origin."""
    profile = memory.profile(user)
    if not profile.preferences and profile.taste is None:
        return f"Nothing is known about {user} yet."
    table = Table("preference", "weight", "sure", "why", box=None, pad_edge=False)
    for preference in profile.preferences:
        table.add_row(
            Text(preference.text),
            f"{preference.weight:+.2f}",
            f"{preference.confidence:.0%}",
            Text(str(profile.why(preference.key)) + _notes(preference, profile.time_zone)),
        )
    if profile.taste is not None:
        table.add_row("more like this", "", "", Text(printable(profile.taste.why())))
    return table


def _notes(preference: Preference, zone: str) -> str:
    """What a wish has beside the others: its time, and what it tells."""
    notes = []
    if preference.valid_to is not None:
        notes.append(f"Until {clock_time(preference.valid_to, zone)}.")
    if preference.answers_left is not None:
        notes.append(f"Answers left: {preference.answers_left}.")
    if preference.sensitive:
        notes.append(f"Sensitive: {', '.join(preference.sensitive)}.")
    return "".join(f" {note}" for note in notes)


def sensitive_of(memory: PreferenceMemory, user: str) -> str:
    """Return " (sensitive: 2 health, 1 money)" for a user's events; empty where there are none."""
    found = memory.sensitive_events(user)
    return f" (sensitive: {', '.join(f'{count} {kind}' for kind, count in found.items())})" if found else ""


def named(preference: Preference) -> str:
    """Return a preference's text, with what it is limited to."""
    return preference.text if preference.scope is None else f"{preference.text} (only for {preference.scope})"


def coloured(tokens: Sequence[Mapping[str, Any]]) -> Text:
    """Return an answer with each token coloured by its reward."""
    return Text.assemble(*((printable(entry["token"]), _colour(entry["reward"])) for entry in tokens))


def guidance_table(tokens: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the eight tokens with the largest |reward|, and what each was chosen over."""
    table = Table("reward", "token", "passed over", box=None, pad_edge=False)
    for entry in sorted(tokens, key=lambda entry: -abs(entry["reward"]))[:8]:
        others = [other for other in entry["top_logprobs"] if other["token"] != entry["token"]]
        passed = ", ".join(f"{other['token']!r} {other['reward']:+.2f}" for other in others)
        table.add_row(f"{entry['reward']:+.2f}", Text(repr(entry["token"])), Text(passed))
    return table


def _colour(reward: float) -> str:
    """Green for tokens that the preferences want, red for those that they do not. 2 nats is full colour."""
    strength = int(min(abs(reward) / 2, 1) * 200)
    if strength < 10:
        return ""
    return f"rgb(0,{55 + strength},0)" if reward > 0 else f"rgb({55 + strength},0,0)"
