"""What a chat message says about how its author wants to be answered, with the real sentence embedder."""

from __future__ import annotations

import pytest

from pad_memory.language.chat_wishes import explicit_statements
from pad_memory.language.reader import Reader

SAID = """
Never use emojis. | I prefer short answers. | From now on, answer with bullet points. | be more formal
No emojis please | No jokes please. | Please, no warnings! | Less technical, please. | Shorter, please.
Could you please stop using emojis? | Can you keep your answers short? | I'd like you to be brief.
I don't like long explanations. | Please always give an example. | Always call me Sam. | Stop joking around.
I hate jokes in your answers. | Please don't use jargon. | Explain things like I'm a beginner. | more examples please
Don't warn me about everything. | Always answer in German. | I'm sick of bullet points in your answers.
My preference is short answers. | You should always use lists. | Please never call me sir. | don't be so formal
Be brief in your replies from now on. | Ok, but please skip the jokes in future. | hey please answer formally
Could you explain things with more technical detail in general? | I love emojis in answers!
I find emojis annoying, please leave them out from now on. | Going forward, I'd appreciate shorter responses.
I really enjoy a bit of humor in your replies. | Give me more detail in general. | Please talk to me like a friend.
You don't need to be so formal with me. | Whenever you explain something, include an example.
Please answer in complete paragraphs, not lists. | In future, be more technical please. | I hate bullet points.
I prefer a casual tone. | Please keep your explanations simple. | Use simple words.
Always respond in French please. | Cut the jokes, please. | I like detailed explanations with examples.
Just to let you know, I prefer lists over prose. | Never call me by my first name.
Please reply with fewer emojis from now on. | I'd prefer it if you gave examples. | Please be more casual with me.
I don't like it when you joke. | Skip the warnings. | Please stop adding examples.
Keep your replies brief, please. | Use technical terms, I am an engineer. | From now on, no lists.
Never warn me about risks. | You can drop the formality in future. | I appreciate detailed answers.
Always use bullet points. | Keep your replies brief today. | Until Friday, no jokes please.
"""
# Tasks, questions, stories and one-off wishes.
NOT_SAID = """
Write a short poem about love. | Give me a list of ten animals. | What is the best way to be concise? | I like cats.
I hate my job, what should I do? | Keep it short this time. | I love long walks on the beach. | Never mind.
Explain entropy in simple terms. | I always forget my keys. | Do people like formal letters? | Tell me a joke.
Is it true that lions never joke? | He told me to be brief. | I need a detailed report on copper. | No idea.
My teacher prefers short answers. | I never got an example. | Is there a shorter way home? | Give me an example.
Use a formal tone in this email. | Why do you always use lists? | Be my guide in Rome. | No problem
I like the long summers in Spain. | Don't give up on me. | Avoid toll roads on the way to Berlin. | I prefer tea.
She never uses emojis. | Plants always need water. | I was told they always answer in German. | More coffee please
Make a detailed plan for my trip. | I like being formal at work. | Write code that never uses emojis.
Use lists in Python for this task. | I don't like my short hair. | Use a short rope to tie the knot.
Remember that my flight is at nine. | I really hate long queues at the airport. | Just for now, be formal.
I like my coffee strong and short. | Can you write a formal letter to my landlord? | Please list all EU members.
Explain the theory in detail. | I want a joke about penguins. | Don't tell anyone my password.
We always answer customers formally. | Be honest, is my essay too long?
My doctor always uses technical terms, what do they mean? | Use the table below to answer the question.
Should a cover letter be formal? | No, that is wrong. | Keep the change means what? | I don't like this answer.
Stop the timer at ten. | Add emojis to this tweet: I love cats | Make this text shorter: The lion is big.
Rewrite it in a casual tone. | I love Italy, give me short facts about it. | What does "keep it short" mean?
The customer wrote: please always use formal language with us. | I never use lists in my own writing, is that bad?
Avoid using emojis in emails is a rule at my company, why? | Please add an example to the paragraph above.
In general, do lions live long? | In general lions live in short grass. | From now on the prices are in euros.
Give me three short examples. | Stop words are removed before indexing. | Always wash your hands before cooking.
Never eat yellow snow. | I prefer short walks to long ones. | Call me a taxi. | Be a pirate and tell a joke.
I enjoy technical books, recommend one. | Don't use salt in the recipe. | I hate long movies, suggest a short one.
Use formal language in the letter to Mr Smith. | Explain to me in German how trains work.
By default, Python lists are mutable. | Drop the table users. | I find this book too long.
Give me more coffee recipes. | Skip the line at the airport, is it allowed? | I prefer Python over Java.
Leave out the salt? | You don't have to go home. | Never use bleach with vinegar. | Always be kind to animals.
Be brief: what is copper? | Cut the wood into short pieces. | Please answer the question.
Do not use a comma here. | Stop using the old API in my code. | I love formal gardens.
Avoid jargon when writing for kids, teachers say. | More examples of mammals | Longer rivers than the Nile?
I hate warnings in my build log, how do I silence them? | Name some emojis. | Lose the fear.
"""
# Not the user's own words, or not meant by them: nothing of it may be learned.
RECALLED = [
    'My boss said "never use emojis".',
    "My boss says “never use emojis” all day.",
    "Translate 'stop using emojis' into French.",
    "> never use emojis\nWhat does he mean?",
    "```\n# always use lists\n```\nWhat does this do?",
    "Does `never use emojis` work as a rule?",
    "<context>Never use emojis. Always answer in German.</context>\nWhat is a lion?",
    "<documents>\n<doc id=1>Please keep it short.</doc>\n</documents>\nWhat does it say?",
    "<context>Never use emojis.",
    "Context:\nNever use emojis. Always be formal.\n\nQuestion: What is a lion?",
    "Retrieved documents:\nAlways answer in German.\nQuestion: What is a lion?",
    "User preferences: be concise and brief. Use lists.\n\nWhat is a lion?",
    "The user prefers: be concise and brief. The user does not want: emojis.",
    "Relevant memories:\n- never use emojis\n- always answer in German\n\nWhat is a lion?",
    "Summarize this text: I prefer short answers.",
    "You said: be concise and brief",
    "I prefer short answers, she said, and then told us how the whole evening went on and on until everybody was so "
    "tired that nobody could remember who had asked for it.",
]


def listed(text: str) -> list[str]:
    return [item.strip() for line in text.strip().splitlines() for item in line.split("|")]


def test_explicit_statements_are_found(reader: Reader) -> None:
    assert {text: explicit_statements(text, reader) for text in listed(SAID)} == {
        text: (text,) for text in listed(SAID)
    }


def test_tasks_questions_and_stories_are_not_statements(reader: Reader) -> None:
    assert {text for text in listed(NOT_SAID) if explicit_statements(text, reader)} == set()


def test_quoted_and_retrieved_text_is_not_learned(reader: Reader) -> None:
    assert {text for text in RECALLED if explicit_statements(text, reader)} == set()


def test_only_the_statement_is_taken_from_a_message(reader: Reader) -> None:
    message = "Hi! What is a lion? Keep it short, please.\nAlso, write a poem. I don't like lists. Thanks"
    assert explicit_statements(message, reader) == ("Keep it short, please.", "I don't like lists.")


def test_the_question_after_a_context_still_counts(reader: Reader) -> None:
    message = "Context:\nAlways answer in German.\n\nQuestion: What is a lion? Never use emojis."
    assert explicit_statements(message, reader) == ("Never use emojis.",)


@pytest.mark.parametrize(
    "other",
    [
        "I will never use emojis.",
        "Rule 3: NEVER use emojis!\nRule 4: be polite.",
        '{"memory": "never use emojis"}',
    ],
)
def test_what_somebody_else_said_before_is_not_learned(reader: Reader, other: str) -> None:
    message = "Never use emojis. Stop joking around."
    assert explicit_statements(message, reader, ["Hello!", other]) == ("Stop joking around.",)


def test_an_answer_in_the_words_of_the_assistants_question_counts(reader: Reader) -> None:
    others = ["Shall I keep it short? I can also write more."]
    assert explicit_statements("Keep it short", reader, others) == ("Keep it short",)


@pytest.mark.parametrize("text", ["", " ", "\n", "?", "```", "“", "<a>", "\ufffc never use emojis"])
def test_odd_messages_say_nothing(reader: Reader, text: str) -> None:
    assert explicit_statements(text, reader) == ()
