"""Held-out preference wordings and the sentences that carry them.

`REWORDED` puts words of a pole's paraphrases together in new ways; `NEW_KEYWORDS` names the pole by words that no
paraphrase of its dimension has. Neither is ever trained on. Keys are those of `pad_memory.catalogue.find`.
"""

from __future__ import annotations

__all__ = ["CARRIERS", "HELD_OUT_CARRIERS", "NEW_KEYWORDS", "REWORDED"]


def _phrases(text: str) -> tuple[str, ...]:
    """Split wordings parted by semicolons, over any number of lines."""
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


REWORDED: dict[str, tuple[str, ...]] = {
    "length:concise": _phrases(
        """keep your answers brief; write short sentences, I have no time; a brief summary please; skip the extra text;
        I prefer few words; quick and compact replies; please don't write so much text"""
    ),
    "length:detailed": _phrases(
        """give me long and thorough answers; tell me more details; I like full, in-depth replies; explain it in depth;
        write more sentences please; include every detail; a thorough explanation please"""
    ),
    "tone:formal": _phrases(
        """speak politely and formally; use professional language; a polite and respectful style;
        write in official language; talk to me like a lawyer; as you would write to a judge;
        keep it formal and businesslike"""
    ),
    "tone:casual": _phrases(
        """talk in a relaxed way; use friendly language; speak like a mate; write as if I am your best friend;
        keep it informal and easy; be loose and friendly with me; like a text to a pal"""
    ),
    "humor:humorous": _phrases(
        """give me a funny answer; puns make me laugh; throw in a joke; be a bit silly; I enjoy comedy;
        tell it like a comedian; please add humor"""
    ),
    "humor:serious": _phrases(
        """no joking please; answer seriously; leave out the puns; don't be comical with me; skip all humor;
        please stop being funny; I hate silly jokes"""
    ),
    "format:list": _phrases(
        """give me numbered bullets; write it in bullets; put the facts in a list; I prefer a bulleted list;
        break it into bullet points; use numbers for each point; structure it as points"""
    ),
    "format:prose": _phrases(
        """write full sentences, not bullets; I like flowing paragraphs; use whole paragraphs;
        no list, just running text; write it as an essay; don't use points; flowing prose please"""
    ),
    "level:simple": _phrases(
        """explain it in plain words; use words for kids; I am a child, make it easy; write for beginners;
        avoid difficult terms; easy English please; no complicated words"""
    ),
    "level:technical": _phrases(
        """use scientific jargon; explain it like an engineer; write for scientists; I am an expert, use precise words;
        make it more academic; advanced technical language please; expert terms please"""
    ),
    "examples:examples": _phrases(
        """give me a practical example; include a real case; explain it with an example; show me everyday cases;
        support it with real examples; name an example from life; I like to learn by example"""
    ),
    "examples:no-examples": _phrases(
        """please don't give examples; leave out examples; only the rule, no examples; skip every example;
        stop using examples; I don't need a practical example; no real cases"""
    ),
    "warnings:warnings": _phrases(
        """please mention dangers; warn me of risks; tell me what is unsafe; give me safety notes;
        add a note of caution; point out the risks; tell me how to be safe"""
    ),
    "warnings:no-warnings": _phrases(
        """leave out warnings; stop the safety talk; don't talk about risks; I don't need warnings;
        skip the safety advice; don't mention dangers; never tell me to be careful"""
    ),
    "emoji:emoji": _phrases(
        """I like smileys; please add icons; put emojis in the text; include some smileys; use lots of emojis;
        end with a smiley; decorate the answer with smileys"""
    ),
    "emoji:no-emoji": _phrases(
        """please don't use smileys; leave out smileys; never add icons; I hate emoticons; only text, no emojis;
        stop the emojis; skip the smileys"""
    ),
}

NEW_KEYWORDS: dict[str, tuple[str, ...]] = {
    "length:concise": _phrases(
        """be terse; succinct replies; keep it pithy; laconic answers; in a nutshell; boil it down; bite-sized answers;
        fit it into a tweet"""
    ),
    "length:detailed": _phrases(
        """elaborate; comprehensive answers; be verbose; exhaustive answers; flesh it out; do a deep dive;
        give me the nitty-gritty; extensive replies"""
    ),
    "tone:formal": _phrases(
        """talk like a butler; be courteous; bow and curtsy; dignified words; ceremonious replies; observe etiquette;
        sound like a statesman; use honorifics"""
    ),
    "tone:casual": _phrases(
        """be laid-back; colloquial words; use slang; chill out; talk to me like a bro; as if we were in a pub;
        dude style; speak like a surfer"""
    ),
    "humor:humorous": _phrases(
        """crack me up; be witty; hilarious answers; add wisecracks; make me chuckle; talk like a clown;
        be a prankster; stand-up routine please"""
    ),
    "humor:serious": _phrases(
        """be solemn; sober answers; be earnest; no-nonsense answers; be po-faced; no wisecracks; don't clown around;
        no tomfoolery"""
    ),
    "format:list": _phrases(
        """itemize it; itemized answers; enumerate them; as a checklist; use dashes; stack them vertically;
        put asterisks first; tabulate it"""
    ),
    "format:prose": _phrases(
        """as a narrative; write like a novelist; like a magazine article; one continuous piece; weave it together;
        like a letter to a relative; a joined-up account"""
    ),
    "level:simple": _phrases(
        """dumb it down; put it in layman's words; ELI5; for dummies; kindergarten style; I am a newbie;
        be accessible to novices; for a toddler"""
    ),
    "level:technical": _phrases(
        """geek out; PhD style; be rigorous; for a specialist; scholarly answers; be nerdy; use proper terminology;
        sophisticated vocabulary"""
    ),
    "examples:examples": _phrases(
        """illustrate it; add illustrations; include a sample; demonstrate it; sketch a scenario; tell an anecdote;
        make it concrete; offer a demonstration"""
    ),
    "examples:no-examples": _phrases(
        """no illustrations; stay abstract; purely theoretical; stick to theory; skip the anecdotes; no scenarios;
        don't illustrate it; leave samples out"""
    ),
    "warnings:warnings": _phrases(
        """mention hazards; add caveats; tell me the pitfalls; name the perils; raise red flags; give me a heads-up;
        alert me; say beware"""
    ),
    "warnings:no-warnings": _phrases(
        """no caveats; skip the disclaimers; stop nagging; don't babysit me; no scaremongering; spare me the hazards;
        don't alert me; I am a daredevil"""
    ),
    "emoji:emoji": _phrases(
        """add pictograms; use hearts; put in a wink; thumbs-up signs please; use party poppers; add sparkles;
        sprinkle in some hearts and stars; use pictographs"""
    ),
    "emoji:no-emoji": _phrases(
        """no pictograms; skip the hearts; stop the winks; no thumbs-up signs; stick to the alphabet; no sparkles;
        ASCII only; letters and punctuation only"""
    ),
}

# {p} is the wording as it is, {P} the same with its first letter raised.
CARRIERS: tuple[str, ...] = (
    "{p}",
    "{P}",
    "{P}.",
    "{P}!",
    "Please: {p}.",
    "{P}, please.",
    "I prefer this: {p}.",
    "From now on: {p}",
    "From now on: {p}.",
    "The user prefers: {p}.",
    "My preference: {p}",
    "Remember this about me: {p}.",
    "When you answer: {p}.",
    "In all your answers: {p}.",
    "The user said: {p}.",
    "Always keep in mind: {p}.",
    "Hi! {P}.",
    "{P}. Thanks!",
)

HELD_OUT_CARRIERS: tuple[str, ...] = (
    "One wish of mine: {p}.",
    "Note for next time: {p}",
    "This person asks for the following: {p}.",
    "{P}, if you can.",
    "Here is how I want it: {p}.",
)
