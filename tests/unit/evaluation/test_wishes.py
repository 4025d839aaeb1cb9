"""Whether an answer shows a wish and is a good answer: answers written by hand for each pole and each fault."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.signs import RULES, SIGNS, grade, words
from pad_langchain.evaluation.wishes import (
    Answer,
    Verdict,
    by_pole,
    echoes,
    ends_as_often,
    judge_all,
    judge_wish,
    lead,
    loops,
    masked,
    shares,
)
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import SentenceEmbedder

QUESTION = "Why does bread dough rise?"
PLAIN = (
    "Bread dough rises because yeast eats the sugar in the flour and makes bubbles of gas. The bubbles are caught in "
    "the stretchy dough and push it up. Warmth makes the yeast work faster, so dough grows sooner in a warm kitchen. "
    "In the oven the gas expands once more before the crust becomes firm."
)
SHORT = "Yeast eats sugar and makes gas, which lifts the dough."
LONG = PLAIN + " " + PLAIN.replace("Bread dough", "A loaf").replace("the", "this")
CHATTY = "Oh, that's easy! Yeast eats sugar, burps gas, and yeah, the dough puffs up. You'll love it, it's so cool!"
CONTRACTED = "It's yeast that makes dough rise, and you'll see that it doesn't need much time when the kitchen is warm."
JOKE = "Yeast makes gas. Here is a joke for you: the baker quit because she could not make enough dough."
RIDDLE = "Why did the loaf go to school? Because it wanted to be well bread! Anyway, yeast makes gas that lifts it."
BULLETS = "Dough needs:\n- yeast that makes gas\n- sugar that feeds it\n- gluten that holds the bubbles"
STEPS = "1. Mix flour and water.\n2. Add the yeast.\n\n3. Let the dough rest."
TWO_BULLETS = "Dough needs two things.\n* yeast\n* time"
HEADED = "# Bread\nYeast makes gas and lifts the dough."
EASY = "The dough gets big as it rests. Yeast eats the sugar and makes gas. The gas lifts the dough. Then you bake it."
LEARNED = (
    "Saccharomyces cerevisiae anaerobically ferments complex monosaccharides, producing carbon dioxide and alcohol. "
    "The viscoelastic gluten network retains the gas, permitting volumetric expansion before starch gelatinisation."
)
EXAMPLE = "Some things make dough rise. Baker's yeast, for example, makes gas as it eats sugar."
PICTURED = "Yeast makes gas. Imagine a balloon that fills with air until it is as big as your head."
HINTED = "Many things make dough rise, including yeast, baking powder and sourdough."
WARNING = "Let the dough rest and then bake it. Be careful when you open the oven, because the steam is very hot."
NEVER = "Put the pan on the stove. Never leave hot oil alone."
WEAK_WARNING = "Mix flour and yeast, and carefully fold in the water until the dough is smooth."
SMILING = "Yeast makes gas and lifts the dough 🍞 and then you bake it."
EMOTICON = "Yeast makes gas and lifts the dough :) and then you bake it."


SHOWN = {
    "length:concise": [SHORT, "Yes."],
    "length:detailed": [LONG],
    "tone:formal": [PLAIN, LEARNED],
    "tone:casual": [CHATTY, CHATTY.replace("'", "’")],
    "humor:humorous": [JOKE, RIDDLE, "What do you call a lazy baker? A loafer."],
    "humor:serious": [PLAIN, "Why does dough rise? Because yeast makes gas."],
    "format:list": [BULLETS, STEPS, "**Step 1:** Mix.\n**Step 2:** Rest.\n**Step 3:** Bake."],
    "format:prose": [PLAIN, "Week 3 of the course - and 2 more - is about dough."],
    "level:simple": [EASY],
    "level:technical": [LEARNED],
    "examples:examples": [EXAMPLE, PICTURED, "Use a grain, e.g. rye."],
    "examples:no-examples": [PLAIN, SHORT],
    "warnings:warnings": [WARNING, NEVER, "Raw flour can cause illness."],
    "warnings:no-warnings": [PLAIN, "Don't worry, it rises."],
    "emoji:emoji": [SMILING, "Ciao 🇮🇹", "Love ❤️"],
    "emoji:no-emoji": [PLAIN, "At 10:30 (or 11:00) it rises."],
}
NOT_SHOWN = {
    "length:concise": [PLAIN, LONG, "", " - "],
    "length:detailed": [PLAIN, SHORT],
    "tone:formal": [CHATTY, CONTRACTED, SHORT + " Hey!"],
    "tone:casual": [PLAIN, CONTRACTED, LEARNED],
    "humor:humorous": [
        PLAIN,
        "A pot of dough, a joke!",
        "Here is a joke:",
        "Don't laugh.",
        "Why does dough rise? Because yeast makes gas.",
    ],
    "humor:serious": [JOKE, RIDDLE, SHORT + " 😂", "How silly!", "A joke!"],
    "format:list": [PLAIN, TWO_BULLETS],
    "format:prose": [BULLETS, TWO_BULLETS, HEADED],
    "level:simple": [LEARNED, "Photosynthesis transforms electromagnetic energy."],
    "level:technical": [EASY, PLAIN],
    "examples:examples": [PLAIN, HINTED, "I can imagine that."],
    "examples:no-examples": [EXAMPLE, PICTURED, HINTED],
    "warnings:warnings": [PLAIN, WEAK_WARNING, "Yeast never sleeps."],
    "warnings:no-warnings": [WARNING, NEVER, WEAK_WARNING, "Don't touch the pan."],
    "emoji:emoji": [PLAIN, EMOTICON, "Bread → toast © 2020"],
    "emoji:no-emoji": [SMILING, EMOTICON, "Bread :smile: rises"],
}


@pytest.mark.parametrize("pole", RULES)
def test_a_pole_is_shown_by_what_a_reader_would_accept(pole):
    assert [text for text in SHOWN[pole] if not judge_wish(text, pole)] == []
    assert [text for text in NOT_SHOWN[pole] if judge_wish(text, pole)] == []


def test_each_pole_of_the_catalogue_has_a_rule():
    assert set(RULES) == {f"{dimension.name}:{pole.name}" for dimension in CATALOGUE for pole in dimension.poles}


def opposed(text):
    """The dimensions of which a text shows both poles."""
    keys = [[f"{dimension.name}:{pole.name}" for pole in dimension.poles] for dimension in CATALOGUE]
    return [pair for pair in keys if all(judge_wish(text, key) for key in pair)]


ALL = sorted({text for texts in (*SHOWN.values(), *NOT_SHOWN.values()) for text in texts})


@settings(deadline=None)
@given(st.lists(st.sampled_from([*ALL, "!", "\n", "word " * 60]), max_size=4))
def test_opposite_poles_are_never_both_shown(parts):
    assert opposed("\n".join(parts)) == []


def test_plain_answers_show_neither_pole_of_some_dimensions():
    assert not judge_wish(PLAIN, "length:concise")
    assert not judge_wish(PLAIN, "length:detailed")
    assert not judge_wish(CONTRACTED, "tone:formal")
    assert not judge_wish(CONTRACTED, "tone:casual")
    assert not judge_wish(TWO_BULLETS, "format:list")
    assert not judge_wish(TWO_BULLETS, "format:prose")


def test_what_was_cut_off_is_not_concise():
    assert not judge_wish(SHORT, "length:concise", ended=False)
    assert judge_wish(LONG, "length:detailed", ended=False)


def test_an_answer_without_words_shows_nothing():
    assert [pole for pole in RULES if judge_wish("… 🍞\n- !", pole)] == []


def test_an_unknown_pole_is_refused():
    with pytest.raises(InvalidRequestError, match=r"one of .*length:concise.*'length:tiny'"):
        judge_wish(PLAIN, "length:tiny")


def test_all_signs_are_named_for_comparison():
    assert set(SIGNS) >= {"colloquial", "jokes", "examples", "cautions", "emoji"}
    assert all(isinstance(sign, str) for signs in SIGNS.values() for sign in signs)


def test_the_grade_is_that_of_coleman_and_liau():
    # 4 words of 3, 3, 4 and 2 letters in 2 sentences: 0.0588 * 300 - 0.296 * 50 - 15.8.
    assert grade("The cat.\nWent up!") == pytest.approx(0.0588 * 300 - 0.296 * 50 - 15.8)
    assert grade("- the cat\n- went up") == grade("The cat. Went up.")
    assert grade("1. The cat.") == grade("1 the cat")
    assert grade(" … ") == 0.0
    assert words("- it's over-mixed, 2.5 cups!") == ["it's", "over-mixed", "2.5", "cups"]


@pytest.mark.parametrize(
    ("answer", "strings", "left"),
    [
        ("Tea. For example, mint.", [" For example,"], "Tea. mint."),
        ("Tea, for\n example mint.", ["For example,"], "Tea, mint."),
        ("Hey! They came. HEY, stop.", ["Hey!"], "They came., stop."),
        ("A word of caution: heat is a word.", ["A word", "A word of caution:"], "heat is."),
        ("Tea 🙂 is warm 🙂🙂.", ["🙂"], "Tea is warm."),
        ("Nothing here.", [], "Nothing here."),
    ],
)
def test_planted_strings_are_masked_wherever_they_stand(answer, strings, left):
    assert masked(answer, strings) == left


@pytest.mark.parametrize("string", ["- ", "", "\n", "!"])
def test_layout_cannot_be_masked(string):
    with pytest.raises(InvalidRequestError, match="letter, digit or symbol"):
        masked("- tea", [string])


def test_an_answer_loops_where_word_triples_come_again():
    assert loops("The dough rises. " * 6)
    assert not loops("The dough rises. " * 3)  # nine words
    assert not loops(PLAIN)
    assert not loops(PLAIN + " " + PLAIN.split(". ")[0])


@pytest.mark.parametrize(
    ("answer", "wording"),
    [
        ("Yeast makes gas. Do not give examples.", "do not give examples"),
        ("Don't give examples. Yeast makes gas.", "do not give examples"),
        ("I will not give examples!\nYeast makes gas.", "do not give examples"),
        ("Do not use examples.", "do not give examples"),
        ("Sure, use emojis: yeast makes gas.", "use emojis"),
        ("Yeast makes gas. Answer in one or two short sentences.", "Be quick. Answer in one or two short sentences."),
    ],
)
def test_a_wish_said_again_is_an_echo(answer, wording):
    assert echoes(answer, wording)


@pytest.mark.parametrize(
    ("answer", "wording"),
    [
        (EXAMPLE, "give examples"),
        ("Use spices. Give them time.", "use emojis"),
        ("Bakers do not give examples of failed loaves to those who buy their bread.", "do not give examples"),
        ("Yeast makes gas.", ""),
        ("", "use emojis"),
    ],
)
def test_other_sentences_are_no_echo(answer, wording):
    assert not echoes(answer, wording)


class Near:
    """Embeds texts about dough and bread along one axis, others along another."""

    name = "near"

    def __init__(self):
        self.calls = 0

    def embed(self, texts):
        self.calls += 1
        return np.array([[1.0, 0.0] if "dough" in text.lower() else [0.3, 0.954] for text in texts], dtype=np.float32)


def judged(text, pole="examples:no-examples", **more):
    (verdict,) = judge_all([Answer(QUESTION, pole, text, **more)], embedder=Near())
    return verdict


def test_a_good_answer_that_shows_the_wish_is_both():
    verdict = judged(PLAIN)
    assert verdict == Verdict(QUESTION, "examples:no-examples", True, 1.0, False, False, False, True)
    assert verdict.good
    assert verdict.both


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("The Roman Empire fell for many reasons.", "relevance"),
        ("The dough rises. " * 6, "loops"),
        ("The dough simply rises.", "scrap"),
        (PLAIN + " Do not give examples.", "echo"),
    ],
)
def test_each_fault_makes_an_answer_bad(text, fault):
    verdict = judged(text)
    found = {"relevance": verdict.relevance < 0.4, "loops": verdict.loops, "scrap": verdict.scrap, "echo": verdict.echo}
    assert [name for name, wrong in found.items() if wrong] == [fault]
    assert not verdict.good
    assert not verdict.both


def test_a_wish_that_is_not_shown_is_good_but_not_both():
    verdict = judged(EXAMPLE)
    assert (verdict.shown, verdict.good, verdict.both) == (False, True, False)


def test_few_words_are_fair_where_brevity_is_wished():
    assert judged("The dough simply rises.", "length:concise").both
    assert judged("", "length:concise").scrap


def test_the_wording_that_was_told_is_an_echo_too():
    assert judged(PLAIN + " Leave out instances.", wish="Leave out instances.").echo
    assert not judged(PLAIN + " Leave out instances.").echo


def test_an_answer_that_was_cut_off_can_be_good():
    verdict = judged(PLAIN, finish_reason="length")
    assert verdict.good
    assert not verdict.ended


def test_planted_words_neither_show_a_wish_nor_hide_that_it_was_not_kept():
    def shown(text, pole):
        (verdict,) = judge_all([Answer(QUESTION, pole, text)], planted=["For example,"], embedder=Near())
        return verdict.shown

    planted = SHORT + " For example, rye dough rises as well."
    assert not shown(planted, "examples:examples")
    assert not shown(planted, "examples:no-examples")
    assert shown(SHORT + " Rye dough, for instance, rises.", "examples:examples")
    assert shown(SHORT, "examples:no-examples")


def test_all_answers_are_embedded_at_once():
    embedder = Near()
    answers = [Answer(QUESTION, pole, PLAIN) for pole in RULES]
    assert [verdict.pole for verdict in judge_all(answers, embedder=embedder)] == list(RULES)
    assert embedder.calls == 1
    assert judge_all([], embedder=embedder) == []


@pytest.mark.slow
def test_relevance_is_that_of_the_sentence_embedder():
    near, far = judge_all(
        [
            Answer(QUESTION, "length:concise", SHORT),
            Answer(QUESTION, "length:concise", "The capital of France is Paris, a city on the Seine."),
        ]
    )
    assert near.good
    assert not far.good
    question, answer = SentenceEmbedder().embed([QUESTION, SHORT])
    assert near.relevance == pytest.approx(float(question @ answer), abs=1e-5)


def verdict(question, *, shown=True, good=True, ended=True, pole="emoji:emoji"):
    return Verdict(question, pole, shown, 1.0, not good, False, False, ended)


def test_shares_weigh_each_prompt_alike():
    found = shares([verdict("a"), verdict("a", shown=False), verdict("a", good=False), verdict("b", ended=False)])
    assert found.shown.mean == pytest.approx((2 / 3 + 1) / 2)
    assert found.good.mean == pytest.approx((2 / 3 + 1) / 2)
    assert found.both.mean == pytest.approx((1 / 3 + 1) / 2)
    assert found.ended.mean == pytest.approx(0.5)
    assert found.count == 4
    assert found.both.low == pytest.approx(1 / 3)
    assert found.both.high == pytest.approx(1.0)


def test_answers_to_one_prompt_do_not_narrow_an_interval():
    few = [verdict(str(n), shown=n % 2 == 0) for n in range(10)]
    assert shares(few * 20).shown == shares(few).shown


def test_no_answers_have_no_shares():
    assert np.isnan(shares([]).both).all()


def test_poles_have_shares_of_their_own():
    found = by_pole([verdict("a"), verdict("a", pole="emoji:no-emoji", shown=False), verdict("b")])
    assert list(found) == ["emoji:emoji", "emoji:no-emoji"]
    assert (found["emoji:emoji"].shown.mean, found["emoji:emoji"].count) == (1.0, 2)
    assert (found["emoji:no-emoji"].shown.mean, found["emoji:no-emoji"].count) == (0.0, 1)


def test_a_lead_is_paired_by_prompt():
    ours = [verdict(str(n), shown=n < 8) for n in range(10)]
    base = [verdict(str(n), shown=n < 6) for n in range(10)][::-1]
    found = lead(ours, base)
    assert found.shown.mean == pytest.approx(0.2)
    assert found.shown.low >= 0
    assert found.good == (0.0, 0.0, 0.0)


def test_a_lead_needs_the_same_prompts():
    with pytest.raises(InvalidRequestError, match=r"2 are on one side only, such as \('a', 'emoji:emoji'\)"):
        lead([verdict("a")], [verdict("b")])


def test_answers_end_as_often_unless_all_of_the_interval_is_below():
    base = [verdict(str(n)) for n in range(20)]
    assert ends_as_often([verdict(str(n), ended=n > 0) for n in range(20)], base)
    assert not ends_as_often([verdict(str(n), ended=n > 9) for n in range(20)], base)
