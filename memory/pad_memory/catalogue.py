"""The preferences the package knows by name: eight dimensions with two poles each.

Every pole has one canonical wording and many paraphrases, each as a user would put it. The reward head is trained on
them and memory uses them to name a wish. Some synonyms are left out on purpose: they are the test of new words.

    >>> dimension, pole = find("length:concise")
    >>> dimension.name, pole.text
    ('length', 'be concise and brief')
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "Dimension", "Pole", "find"]


@dataclass(frozen=True)
class Pole:
    """One end of a dimension: its name, canonical wording, and paraphrases of 2 to 12 words."""

    name: str
    text: str
    paraphrases: tuple[str, ...]


@dataclass(frozen=True)
class Dimension:
    """One way in which answers differ. Its two poles exclude each other."""

    name: str
    poles: tuple[Pole, Pole]


def _pole(name: str, text: str, paraphrases: str) -> Pole:
    """Build a pole from paraphrases parted by semicolons, over any number of lines."""
    return Pole(name, text, tuple(" ".join(phrase.split()) for phrase in paraphrases.split(";")))


_LENGTH = Dimension(
    "length",
    (
        _pole(
            "concise",
            "be concise and brief",
            """keep it short; brief answers; I have little time; no long talk; don't go on and on;
            your answers are too long; short replies; be brief; get to the point; just the essentials;
            one or two sentences at most; few words please; I am in a hurry; cut it down; less text; make it quick;
            a quick answer; don't ramble; stop rambling; skip the details; no details; leave out the small stuff;
            only the main idea; give me the short version; not too long; shorter answers; be more concise;
            concise replies; compact answers; condensed answers; sum it up; a short summary is all I want;
            summarize for me; use as few words as you can; do not write long answers; I hate long answers;
            that was far too wordy; don't be wordy; I don't want to read much; my attention span is tiny;
            minimal answers; straight to the point; no lengthy explanations; trim your answers; don't waste my time;
            talk less; I only read the first sentence; short and sweet; I prefer brevity; no extra information;
            don't explain at length; too much text; less detailed; the fewer sentences the better;
            keep the length down; answer as if every word costs money; write like a telegram; don't drag it out""",
        ),
        _pole(
            "detailed",
            "be detailed and thorough",
            """give me all the details; long answers; I have plenty of time; I want a long talk;
            go on as long as you like; your answers are too short; longer replies; be thorough; tell me everything;
            not just the essentials; many sentences please; lots of words are fine; I am not in a hurry; more text;
            take your time; a full answer; don't cut it short; stop being so brief; don't skip the details;
            more details; include the small stuff; explain every part; give me the long version; not too short;
            longer answers; be more detailed; detailed replies; in-depth answers; I want depth; cover every side of it;
            a complete picture; don't summarize; a full explanation, not a summary; write as much as you can;
            do not write short answers; I hate short answers; that was far too short; I want to read a lot;
            I love to read long answers; tell me more; rich and full answers; lengthy explanations; say more about it;
            don't leave anything out; give me extra information; explain at length; too little text; less concise;
            the more sentences the better; thorough answers; I want the whole story; give background too;
            walk me through every detail; answer like an encyclopedia; not so brief; don't hold back information;
            that was too thin""",
        ),
    ),
)

_TONE = Dimension(
    "tone",
    (
        _pole(
            "formal",
            "use a formal and polite tone",
            """be formal; more formal; less casual; formal language; keep it professional; a professional tone;
            be polite; polite answers; be respectful; speak to me with respect; talk like a diplomat;
            write like a lawyer; as in a business letter; business language; businesslike replies; official language;
            sound official; address me politely; I like good manners; mind your manners; don't be so casual;
            not so casual; do not be too familiar with me; you sound too casual; that was too chummy; no casual talk;
            do not use casual speech; don't call me pal; I am not your friend; don't talk to me like a friend;
            stop being so informal; nothing informal; keep your distance; use proper English; proper manners;
            a refined tone; elegant language; write for my boss; this goes to a judge; speak as you would to a queen;
            answer like an ambassador; use full courtesy; a reserved tone; be civil and correct;
            I prefer a formal style; formal wording please; never be casual with me; dress up your language;
            as in an official report; a civil tone; gentlemanly language; speak as to a superior; like a civil servant;
            too relaxed for my taste; write as if to a client; a stiff tone is fine""",
        ),
        _pole(
            "casual",
            "use a casual and friendly tone",
            """be casual; more casual; less formal; casual language; don't be so professional; a friendly tone;
            be friendly; friendly answers; be relaxed; talk to me like a friend; talk like a pal;
            write like my best mate; not like a business letter; no business language; no official language;
            don't sound official; you can be informal with me; I don't care about manners; forget the formalities;
            don't be so formal; not so formal; be familiar with me; you sound too formal; that was too stiff;
            no formal talk; do not use formal speech; call me pal; I am your friend; don't talk to me like my boss;
            stop being so polite; nothing formal; loosen up; everyday speech; easygoing replies; a relaxed tone;
            warm and friendly language; write for my friends; this goes to my buddies;
            speak as you would to your sister; answer like a neighbor; drop the formality; an informal tone;
            be loose and easy; I prefer a casual style; casual wording please; never be formal with me;
            talk the way people talk; as in a text to a friend; a breezy tone; street language is fine;
            speak as to an old friend; like a guy next door; too formal for my taste; hey is better than dear sir;
            chat with me like a mate; just be yourself with me, relaxed""",
        ),
    ),
)

_HUMOR = Dimension(
    "humor",
    (
        _pole(
            "humorous",
            "be humorous and add a joke",
            """be funny; add a joke; tell jokes; make me laugh; use humor; with a bit of humor; I love puns;
            throw in a pun; that was too dry; your answers are boring; don't be so serious; less serious;
            funnier please; more jokes; be playful; a playful answer; be silly; amuse me; amusing answers;
            entertain me; like a comedian; talk like a comic; lighten it up; I like to laugh; I enjoy a good joke;
            jokes are welcome; a joke in each answer; end with a joke; give me something to giggle about;
            make me smile; make it fun; fun answers; have some fun with it; I have a sense of humor;
            don't skip the jokes; you never joke with me; please joke with me; not so serious; stop being so serious;
            comedy please; comical replies; add a gag; a few gags; be goofy; be a joker; never be serious with me;
            I want to be entertained; poke fun at it; humorous replies; too serious for me; I need a laugh;
            laughter is good for me; kid around; fool around a little; write it for a comedy show; a touch of comedy;
            sprinkle in puns""",
        ),
        _pole(
            "serious",
            "be serious and do not joke",
            """be serious; do not add a joke; no jokes; never joke with me; don't make me laugh; no humor;
            without any humor; I hate puns; no puns please; that was too silly; your jokes are bad; don't be funny;
            more serious; not funny; less humor; fewer jokes; don't be playful; a serious answer; don't be silly;
            don't amuse me; this is no laughing matter; don't entertain me; not like a comedian; stop the comedy;
            drop the comedy; I don't like to laugh at this; I don't enjoy jokes; jokes are not welcome; skip the joke;
            do not end with a joke; nothing to giggle about; don't try to make me smile; this is not for fun;
            no fun and games; take this seriously; I have no sense of humor; leave out the jokes; stop joking;
            quit kidding around; always serious; stay serious; keep humor out of it; no comical replies; no gags;
            don't be goofy; I am not in the mood for jokes; always be serious with me; I do not want to be entertained;
            don't poke fun at it; serious replies; too funny for me; no fooling around; play it straight;
            matter of fact please; write it for a funeral; cut the comedy; I take this very seriously;
            spare me the puns""",
        ),
    ),
)

_FORMAT = Dimension(
    "format",
    (
        _pole(
            "list",
            "write the answer as a list",
            """use a list; a bulleted list; bullet points; use bullets; as bullets please; in points; point by point;
            a numbered list; number the points; numbered points; step by step list; make a list; lists please;
            I like lists; list the facts; list them one by one; put it in a list; give it as a list; no prose;
            not as prose; don't write paragraphs; no paragraphs; break it into points; split it into bullets;
            bullet format; list format; each fact on its own row; separate rows for each fact;
            rows with a bullet in front; I hate walls of text; that was a wall of text; stop writing paragraphs;
            I prefer bullet points; do not use running text; key points; structure it with bullets;
            structured in points; no flowing text; like slides in a talk; as on a slide; like a shopping list;
            like a to-do list; a list instead of prose; points instead of paragraphs; listed facts;
            one bullet for each idea; one, two, three, as numbers; number everything; put numbers in front; less prose;
            more bullets; use list form; bulleted please; always with bullets; never write prose; no essays;
            I scan lists faster; I want to tick off the points""",
        ),
        _pole(
            "prose",
            "write in flowing prose",
            """use prose; full paragraphs; a paragraph please; in whole sentences; as running text; flowing text;
            no bullets; do not use bullets; without bullet points; not in points; no numbered list;
            don't number the points; no numbers in front; don't make a list; no lists please; I dislike lists;
            do not list the facts; don't put it in a list; not as a list; write paragraphs; write it as a paragraph;
            don't break it into points; don't split it up; paragraph format; prose format;
            sentences that follow each other; linked sentences; I hate bullet points; that was a list again;
            stop making lists; I prefer prose; use running text; no bullet format; as an essay; like an essay;
            essay form; flowing sentences; smooth text; no slides; not like a shopping list; not like a to-do list;
            prose instead of a list; paragraphs instead of points; tell it like a story; sentences, not bullets;
            more prose; fewer bullets; no list form; nothing bulleted; never with bullets; always write prose;
            I read paragraphs better; lists look choppy; bullets look ugly; as in a book; one flowing paragraph;
            body text only; stop using lists""",
        ),
    ),
)

_LEVEL = Dimension(
    "level",
    (
        _pole(
            "simple",
            "use simple and easy words",
            """keep it simple; simple words; easy words; plain language; plain English; be simple; simpler please;
            explain it to a child; like I am five; for kids; as for a five-year-old; explain it to my grandmother;
            for a beginner; I am a beginner; I am new to this; I know nothing about it; no jargon; without jargon;
            don't use jargon; avoid technical terms; no technical words; not so technical; less technical;
            too technical for me; that was too hard; that was too complicated; I didn't understand that;
            make it easy to understand; easy to follow; not too hard; no difficult words; no big words;
            no scientific terms; basic words; just the basics; everyday words; common words; words a child knows;
            I am not an expert; not for experts; write for school children; a simple level; in simple terms;
            use easy language; I am no scientist; don't talk like a professor; don't be academic;
            make it clear for everyone; so that anybody can understand; I get lost in difficult words; no fancy words;
            teach me like a little kid; for the general public; I never studied this; English is not my first language;
            lower the level; elementary school level; nothing complicated""",
        ),
        _pole(
            "technical",
            "use technical and scientific words",
            """be technical; technical words; expert words; technical language; scientific language; more technical;
            more advanced please; explain it to an expert; like I am a scientist; not for kids;
            don't talk to me like a child; write for a professor; for an expert; I am an expert; I know this field;
            I know the basics; use jargon; jargon is fine; don't avoid jargon; technical terms please;
            use scientific terms; not so simple; less simple; too simple for me; that was too easy; that was too basic;
            I can handle difficult words; make it advanced; an advanced level; not too easy; use difficult words;
            use the exact terms; precise terms; no baby talk; not just the basics; the science behind it;
            the correct scientific words; I am an engineer; I am a scientist; for experts;
            write for university students; a university level; in technical terms; do not use simple words;
            I have a degree in this; talk like a professor; be academic; academic language; as in a science journal;
            as in a research paper; like a textbook; professional terms; lab language; for engineers;
            I studied this for years; raise the level; I work in this field; complex words are fine;
            speak like a researcher""",
        ),
    ),
)

_EXAMPLES = Dimension(
    "examples",
    (
        _pole(
            "examples",
            "give examples",
            """add an example; use examples; include examples; with examples; show me an example; more examples;
            examples please; for example helps me; I learn from examples; I love examples; examples help me;
            give an example each time; always give an example; don't forget the example; there were no examples;
            you gave no example; I miss the examples; an example would help; a real example; real-life examples;
            examples from daily life; show me a case; give me a case; describe a real case; cases from real life;
            name an instance; for instance helps me; give instances; show how it works in real life;
            show it in practice; practical examples; practical cases; tell me where I can see this;
            where do I meet this in daily life; two examples are better than none; at least one example;
            explain by example; teach by example; not without examples; never without an example;
            do not skip the examples; do not leave out examples; example-based answers; support it with an example;
            back it up with examples; everyday examples; an everyday case; compare it to something I know;
            too few examples; I need an example to understand; such as this or that; typical cases; a typical example;
            I want to see it in action; name something like it; give me something I can picture""",
        ),
        _pole(
            "no-examples",
            "do not give examples",
            """do not add an example; no examples; don't use examples; don't include examples; without examples;
            don't show me an example; fewer examples; examples are not needed; for example bores me;
            I don't learn from examples; I hate examples; examples confuse me; never give an example;
            leave out the example; there were too many examples; stop giving examples; skip the examples;
            I don't need the example; an example would not help; no real-life examples; nothing from daily life;
            don't show me a case; no cases; don't describe a case; no instances; no for instance;
            don't show how it works in real life; not in practice; no practical examples; no practical cases;
            only the rule; just the rule itself; the definition alone; only the definition; just the principle;
            only general statements; stay general; keep it general; speak in general; not a single example;
            zero examples; explain without examples; always without examples; please omit examples; drop the examples;
            avoid examples; answers free of examples; don't support it with examples; no everyday examples;
            don't compare it to something; too many examples; I understand without an example; no such as;
            no typical cases; examples waste my time; examples distract me; I can think of examples myself""",
        ),
    ),
)

_WARNINGS = Dimension(
    "warnings",
    (
        _pole(
            "warnings",
            "warn me about dangers and risks",
            """add a warning; use warnings; include warnings; with a warning; warn me; please warn me; more warnings;
            warnings please; tell me the risks; name the risks; mention risks; what are the dangers;
            tell me about dangers; point out dangers; say what is dangerous; what can go wrong;
            tell me what could go wrong; safety first; add safety advice; safety tips; a safety note;
            safety notes please; remind me to be careful; tell me to be careful; be careful with me;
            I want to be careful; a word of caution; cautious advice; be cautious; I am afraid of accidents;
            I worry about accidents; I don't want to get hurt; how do I stay safe; keep me safe; think of my safety;
            don't skip the warning; do not leave out the risks; never forget the warning; there was no warning;
            you did not warn me; you forgot the risks; always warn me; always mention the risks; not without a warning;
            say what to avoid; tell me what not to do; what should I be afraid of; could it harm me;
            tell me if it can hurt me; protect me; I have small children at home; I am easily injured;
            point out threats; unsafe things should be named; I like to know the risks; too few warnings;
            I am an anxious person""",
        ),
        _pole(
            "no-warnings",
            "do not warn me about anything",
            """do not add a warning; no warnings; don't use warnings; don't include warnings; without warnings;
            don't warn me; please don't warn me; fewer warnings; warnings are not needed; don't tell me the risks;
            don't name the risks; don't mention risks; no talk of dangers; I know the dangers; don't point out dangers;
            I know what is dangerous; I know what can go wrong; don't tell me what could go wrong; no safety talk;
            no safety advice; no safety tips; leave out the safety notes; skip the safety note;
            don't remind me to be careful; don't tell me to be careful; stop telling me to be careful;
            I know how to be careful; no words of caution; without caution; don't be so cautious; I am not afraid;
            I don't worry about accidents; I can look after myself; I stay safe by myself; don't protect me;
            skip the warning; leave out the risks; forget the warnings; there were too many warnings; stop warning me;
            never warn me; never mention the risks; always without warnings; don't tell me what to avoid;
            don't tell me what not to do; don't frighten me; don't scare me; I am aware of the risks; I take risks;
            I accept the risk; I am a grown-up, no warnings; warnings bore me; warnings annoy me; too many warnings;
            drop the warnings; I am not an anxious person; don't be so worried about me""",
        ),
    ),
)

_EMOJI = Dimension(
    "emoji",
    (
        _pole(
            "emoji",
            "use emojis",
            """add an emoji; include emojis; with emojis; use emoji; more emojis; emojis please; I love emojis;
            I like emojis; put in some emojis; an emoji in each answer; end with an emoji; lots of emojis;
            don't forget the emojis; there were no emojis; you used no emoji; I miss the emojis;
            an emoji would be nice; always use emojis; never without an emoji; not without emojis;
            do not skip the emojis; do not leave out emojis; decorate with emojis; brighten it with emojis;
            use smileys; add a smiley; with a smiley; smileys please; I love smileys; use smiley faces;
            happy faces please; put a face at the end; use emoticons; add an emoticon; emoticons please;
            with emoticons; use icons; add little icons; icons please; little pictures in the text;
            tiny pictures please; add small pictures; colorful symbols please; add cute symbols; use picture symbols;
            emojis make me happy; emojis are welcome; I want to see emojis; too few emojis;
            text without emojis looks sad; plain text is too dull; not plain text; write like a teenager with emojis;
            like a chat message with smileys; a yellow face now and then; show feelings with emojis;
            at least one emoji""",
        ),
        _pole(
            "no-emoji",
            "do not use emojis",
            """do not add an emoji; don't include emojis; without emojis; no emoji; no emojis; stop using emojis;
            fewer emojis; emojis are not needed; I hate emojis; I don't like emojis; leave out the emojis;
            no emoji at the end; don't end with an emoji; not a single emoji; zero emojis; forget the emojis;
            there were too many emojis; you used an emoji again; I don't need emojis; an emoji would be annoying;
            never use emojis; never add an emoji; always without emojis; skip the emojis; please omit emojis;
            don't decorate with emojis; drop the emojis; no smileys; don't add a smiley; without smileys;
            stop the smileys; I hate smileys; no smiley faces; no happy faces; don't put a face at the end;
            no emoticons; don't use emoticons; without emoticons; avoid emoticons; no icons; don't add little icons;
            without icons; no little pictures in the text; no tiny pictures; no small pictures; no colorful symbols;
            no cute symbols; avoid picture symbols; emojis annoy me; emojis are not welcome;
            I don't want to see emojis; too many emojis; text with emojis looks childish; plain text only;
            only plain text; just words, no symbols; only words please; emojis distract me;
            my screen can't show emojis""",
        ),
    ),
)

CATALOGUE: tuple[Dimension, ...] = (_LENGTH, _TONE, _HUMOR, _FORMAT, _LEVEL, _EXAMPLES, _WARNINGS, _EMOJI)

_BY_KEY = {f"{dimension.name}:{pole.name}": (dimension, pole) for dimension in CATALOGUE for pole in dimension.poles}


def find(key: str) -> tuple[Dimension, Pole]:
    """Return the dimension and pole named by `key`, such as "length:concise".

    Raises:
        ValueError: no pole has this key; the message lists all keys.
    """
    try:
        return _BY_KEY[key]
    except KeyError:
        raise ValueError(f"no preference {key!r} in the catalogue; use one of: {', '.join(_BY_KEY)}") from None
