"""More inputs at once than the engine's queue holds: batches wait for their own, single calls are told."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from llama_index.core.llms import ChatMessage

from pad_langchain import PADLLM, ChatPAD
from pad_langchain.errors import EngineBusyError, InvalidRequestError

SMALL = {"max_queue": 3, "max_batch": 2}
INPUTS = ["hi"] * 24


@pytest.fixture
def short_queue():
    return ChatPAD(max_tokens=2, engine_settings=SMALL)


async def test_every_form_of_batch_answers_more_inputs_than_the_queue_holds(short_queue):
    expected = [answer.text for answer in short_queue.batch(INPUTS)]
    assert len(expected) == len(INPUTS)
    assert [answer.text for answer in await short_queue.abatch(INPUTS)] == expected
    completed = {place: answer.text async for place, answer in short_queue.abatch_as_completed(INPUTS)}
    assert [completed[place] for place in range(len(INPUTS))] == expected
    result = await short_queue.agenerate([[HumanMessage(text)] for text in INPUTS])
    assert [one[0].text for one in result.generations] == expected
    chain = RunnableLambda(lambda text: text) | short_queue
    assert [answer.text for answer in await chain.abatch(INPUTS)] == expected
    assert len(await short_queue.abatch([])) == 0


async def test_what_fails_in_a_batch_keeps_the_others(short_queue):
    inputs = ["hi", [], "hi"]
    answers = await short_queue.abatch(inputs, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["AIMessage", "InvalidRequestError", "AIMessage"]
    assert [type(each) for each in short_queue.batch(inputs, return_exceptions=True)] == [
        type(each) for each in answers
    ]
    with pytest.raises(InvalidRequestError):
        await short_queue.abatch(inputs)


async def test_a_parallel_chain_limits_itself_where_it_is_told_to(short_queue):
    chain = RunnableParallel(one=short_queue, two=short_queue)
    answers = await chain.abatch(INPUTS, {"max_concurrency": 1})
    assert len({answer["two"].text for answer in answers}) == 1
    assert len(answers) == len(INPUTS)


async def test_single_calls_beyond_the_queue_are_refused_and_the_others_answered(short_queue):
    calls = [short_queue.ainvoke("hi", max_tokens=100) for _ in range(60)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert {type(error) for error in refused} <= {EngineBusyError}
    assert all("max_concurrency" in str(error) for error in refused)
    assert len(answers) - len(refused) >= SMALL["max_queue"]


async def test_llama_index_jobs_do_as_many_at_a_time_as_they_say():
    from llama_index.core.async_utils import run_jobs

    llm = PADLLM(max_tokens=2, engine_settings=SMALL)
    jobs = [llm.achat([ChatMessage("hi")]) for _ in INPUTS]
    answers = await run_jobs(jobs, workers=3)
    assert len({answer.message.content for answer in answers}) == 1
    assert len(answers) == len(INPUTS)
