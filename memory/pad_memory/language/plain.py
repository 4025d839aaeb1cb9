"""Before words are read: one spelling for signs that look alike, and whether a text is in the language the rules know.

The rules and the catalogue are English. The sentence embedder knows an "emoji" in any language, but a negation in none
but English; so what is not understood is kept in the user's own words and is never given a pole.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from pad_memory.catalogue import CATALOGUE

__all__ = ["LONGEST", "THINGS", "foreign", "tidy", "understood", "vocabulary"]

LONGEST = 2000  # characters of a text in which wishes are looked for; a longer one is a document

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u00b4\u02b9\u02bb\u02bc\u02bd\u02c8\u2018\u2019\u201a\u201b\u2032\u2035\ua78c\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\uff02", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
        **dict.fromkeys("\U0001f6ab\u274c\u274e\u2716\u26d4\U0001f6d1\U0001f44e\U0001f645", " no "),
        "\u2044": "/",
    }
)
_TICK = re.compile(r"(?<=[^\W\d_])`(?=[^\W\d_])")
_SHORT = (
    (re.compile(r"(?<!\w)w/(?:o|out)(?!\w)", re.IGNORECASE), "without"),
    (re.compile(r"(?<!\w)w/ ", re.I), "with "),
)
_WORD = re.compile(r"[^\W\d_]+")

# Words of other languages that no English text has; one is enough to know that a "not" may hide in there.
_FOREIGN = re.compile(
    r"""(?:kein\w*|nicht|nie|niemals|ohne|weder|bitte|niet|geen|nooit|zonder|pas|jamais|aucune?s?|rien|sans|evit\w+|nunca
    |jamas|nada|ningun\w*|tampoco|niente|nessun\w*|senza|nao|nenhum\w*|sem|nigdy|bez|zadn\w+|kullanma\w*|istemiyorum|yok
    |asla|degil|inga|ingen|aldrig|inte|ikke|aldri|verzicht\w*|vermeid\w*|vermijd\w*|verboten|lass|uzywaj|smettila|basta
    |arrete[rz]?|quiero|voglio|quero|chce|usar|usare|verwende\w*|benutze\w*|gebruik\w*|utilis\w*|utiliz\w*)""".replace(
        "\n    ", ""
    )
)
_ENGLISH = """
overly find finds tiresome annoyed dislike detest despise loathe omit skip drop ban remove ditch
a able about above add after again all also always am an and another answer answering answers any anybody
anyhow anymore anyone anything anyway appreciate are aren around as ask asked at avoid away back bad be
because been before being best better between big bit both bother but by call can cannot care circumstances
come could couldn cut day did didn do does doesn doing don done down drop each easy either else end enjoy
enough especially even ever every everybody everyone everything explanation explanations fan far feel few
fewer fine first for forever forget free from full further future get give given go going gone good got great
had hard has hasn hate have haven having he help her here hers him his hold how i if in include instead into
is isn it its itself just keep know last lately later least leave less let like likes little ll long longer
look lose lot lots love made make makes many matter may maybe me mean message messages might mind minding mine
mistake mm more most much must my myself name need needn needs never new next nice no nobody none nor not
nothing now of off often oh ok okay old on once one only onto or other others otherwise our ours out over own
part people perhaps place plain please point pointless prefer preference put question questions quit quite
rather re read reader really replies reply request respond response responses rest right said same say says
see seen send sentence set shall she short should shouldn show sick simply since skip so some someone
something sometimes soon sort sound sounding sounds spare speak start still stop style such suit sure take
talk taste tell text than thank thanks that the their them themselves then there these they thing things think
this those though through till time times tired to together told too totally try two under unless until up
upon us use used useless user uses using usually ve very want wanted wants was wasn way we well went were
weren what whatever when whenever where whether which while who whole whom whose why will wish with within
without won word words would wouldn write writing written wrong yes yet you your yours yourself
""".split()

# Words of the catalogue that other languages have as well.
THINGS = frozenset(
    "emoji emojis emoticon emoticons smiley smileys formal formel formale casual informal humor list lista listas liste"
    " listen lists jargon ironic neutral professional detail details direct text note bullet bullets technical"
    " icon icons elegant original normal special serious colorful format".split()
)


def tidy(text: str) -> str:
    """Return the text with one kind of apostrophe, quote, dash and blank, without entities and invisible characters.

    >>> tidy("Don\u00b4t use emojis &amp; w/o lists")
    "Don't use emojis & without lists"
    """
    text = html.unescape(text).translate(_SIGNS)
    text = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text if unicodedata.category(c) != "Cf")
    text = _TICK.sub("'", text)
    for pattern, long in _SHORT:
        text = pattern.sub(long, text)
    # Runs of blanks are one, but a line stays a line.
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def foreign(text: str) -> bool:
    """Whether a word of another language stands in a text that may turn it round."""
    return any(_FOREIGN.fullmatch(word) for word in _words(text))


@cache
def vocabulary() -> frozenset[str]:
    """The words the rules and the catalogue know."""
    wordings = (text for dimension in CATALOGUE for pole in dimension.poles for text in (pole.text, *pole.paraphrases))
    return frozenset(_ENGLISH) | frozenset(word for text in wordings for word in _words(text))


def understood(text: str, things: Iterable[str]) -> bool:
    """Whether a text is in the language the rules know: as many known words as others, things apart.

    Args:
        text: what the user said.
        things: words that many languages have, "emoji": they tell nothing.
    """
    words = _words(unicodedata.normalize("NFKC", text))
    if any(_FOREIGN.fullmatch(word) for word in words):
        return False
    things, known = frozenset(things), vocabulary()
    unknown = sum(1 if word.isascii() else 2 for word in words if word not in known and word not in things)
    return unknown == 0 or sum(word in known and word not in things for word in words) >= unknown


def _words(text: str) -> list[str]:
    """The words of a text in lower case, without the accents of Latin letters where nothing is lost by that."""
    found = []
    for word in _WORD.findall(text.lower()):
        bare = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c)).replace("ı", "i")
        found.append(bare if _FOREIGN.fullmatch(bare) else word)
    return found
