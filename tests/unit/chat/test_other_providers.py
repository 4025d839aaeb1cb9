"""Conversations that other providers' models began: whatever blocks they left, the conversation goes on."""

from __future__ import annotations

import logging
from typing import get_args, get_type_hints

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.content import ContentBlock
from llama_index.core.base.llms.types import AudioBlock, CachePoint, DocumentBlock, ImageBlock, TextBlock, VideoBlock
from llama_index.core.llms import ChatMessage

from pad_langchain.chat.messages import chat_dicts
from pad_langchain.errors import InvalidRequestError
from pad_langchain.langchain.messages import to_chat_dicts
from pad_langchain.llama_index.messages import to_chat_dicts as llama_dicts

PNG = "iVBORw0KGgo="
# Every standard content block of langchain-core, and the words that a model is to read of it.
STANDARD = [
    ({"type": "text", "text": "T", "annotations": [{"type": "citation", "url": "u", "cited_text": "c"}]}, "T"),
    ({"type": "text", "text": "T", "annotations": [{"type": "non_standard_annotation", "value": {}}]}, "T"),
    ({"type": "reasoning", "reasoning": "hm"}, ""),
    ({"type": "refusal", "refusal": "I cannot."}, "I cannot."),
    ({"type": "image", "base64": PNG, "mime_type": "image/png"}, ""),
    ({"type": "image", "url": "http://localhost/a.png"}, ""),
    ({"type": "image", "file_id": "f1"}, ""),
    ({"type": "audio", "base64": "AA==", "mime_type": "audio/wav"}, ""),
    ({"type": "video", "url": "http://localhost/a.mp4"}, ""),
    ({"type": "file", "base64": "AA==", "mime_type": "application/pdf"}, ""),
    ({"type": "text-plain", "text": "a file", "mime_type": "text/plain"}, "a file"),
    ({"type": "text-plain", "url": "http://localhost/a.txt", "mime_type": "text/plain"}, ""),
    ({"type": "tool_call", "name": "f", "args": {}, "id": "c1"}, ""),
    ({"type": "tool_call_chunk", "name": "f", "args": '{"a', "id": "c2", "index": 0}, ""),
    ({"type": "invalid_tool_call", "name": "f", "args": '{"a', "id": "c3", "error": None}, ""),
    ({"type": "server_tool_call", "name": "web_search", "args": {"query": "q"}, "id": "s1"}, ""),
    ({"type": "server_tool_call_chunk", "name": "web_search", "args": "{", "id": "s1", "index": 0}, ""),
    ({"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": [1]}, ""),
    ({"type": "non_standard", "value": {"type": "redacted_thinking", "data": "x"}}, ""),
    ({"type": "non_standard", "value": {"type": "output_text", "text": "T"}}, "T"),
]
RAW = [
    # Anthropic
    ({"type": "thinking", "thinking": "hm", "signature": "s"}, ""),
    ({"type": "redacted_thinking", "data": "x"}, ""),
    ({"type": "refusal"}, ""),
    ({"type": "text", "text": "T", "citations": [{"type": "char_location", "cited_text": "c"}]}, "T"),
    ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}, ""),
    ({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]}, ""),
    ({"type": "code_execution_tool_result", "tool_use_id": "s", "content": {"stdout": "1"}}, ""),
    ({"type": "mcp_tool_use", "id": "m", "name": "f", "server_name": "s", "input": {}}, ""),
    ({"type": "mcp_tool_result", "tool_use_id": "m", "content": [{"type": "text", "text": "no"}]}, ""),
    ({"type": "container_upload", "file_id": "f"}, ""),
    ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a file"}}, "a file"),
    ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "T"}]}}, "T"),
    ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}}, ""),
    ({"type": "image", "source": {"type": "url", "url": "http://localhost/a.png"}}, ""),
    ({"type": "search_result", "source": "u", "title": "t", "content": [{"type": "text", "text": "T"}]}, "T"),
    # OpenAI: chat completions and responses
    ({"type": "image_url", "image_url": {"url": "http://localhost/a.png"}}, ""),
    ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}, ""),
    ({"type": "file", "file": {"file_id": "f"}}, ""),
    ({"type": "output_text", "text": "T", "annotations": [{"type": "url_citation"}]}, "T"),
    ({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "T"}]}, "T"),
    ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "id": "rs"}, ""),
    ({"type": "web_search_call", "id": "ws", "status": "completed"}, ""),
    ({"type": "file_search_call", "id": "fs", "results": []}, ""),
    ({"type": "code_interpreter_call", "id": "ci", "code": "1", "outputs": []}, ""),
    ({"type": "image_generation_call", "id": "ig", "result": PNG}, ""),
    ({"type": "computer_call", "id": "cc", "call_id": "c", "action": {}}, ""),
    ({"type": "mcp_call", "id": "mc", "name": "f", "arguments": "{}"}, ""),
    ({"type": "mcp_list_tools", "id": "ml", "tools": []}, ""),
    ({"type": "mcp_approval_request", "id": "ma", "name": "f", "arguments": "{}"}, ""),
    # Bedrock Converse, as LangChain and as the API write them
    ({"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}}, ""),
    ({"reasoningContent": {"redactedContent": b"x"}}, ""),
    ({"text": "T"}, "T"),
    ({"type": "guard_content", "guard_content": {"text": "T"}}, "T"),
    ({"guardContent": {"text": {"qualifiers": ["query"], "text": "T"}}}, "T"),
    ({"citationsContent": {"content": [{"text": "T"}], "citations": []}}, "T"),
    ({"cachePoint": {"type": "default"}}, ""),
    ({"document": {"format": "txt", "name": "d", "source": {"text": "a file"}}}, "a file"),
    ({"document": {"format": "pdf", "name": "d", "source": {"bytes": b"x"}}}, ""),
    ({"image": {"format": "png", "source": {"bytes": b"x"}}}, ""),
    ({"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://a"}}}}, ""),
    ({"SDK_UNKNOWN_MEMBER": {"name": "new"}}, ""),
    # Gemini
    ({"text": "hm", "thought": True}, ""),
    ({"thoughtSignature": "s", "text": "T"}, "T"),
    ({"type": "executable_code", "executable_code": "1", "language": "PYTHON"}, ""),
    ({"type": "code_execution_result", "code_execution_result": "1", "outcome": 1}, ""),
    ({"type": "function_call", "name": "f", "args": {}}, ""),
    ({"functionCall": {"name": "f", "args": {}}}, ""),
    ({"type": "media", "mime_type": "audio/wav", "data": b"x"}, ""),
    ({"inlineData": {"mimeType": "image/png", "data": PNG}}, ""),
    # Mistral
    ({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}, ""),
    ({"type": "reference", "reference_ids": [1]}, ""),
    ({"type": "document_url", "document_url": "http://localhost/a.pdf"}, ""),
    # nobody's yet
    ({"type": "hologram", "rays": 3}, ""),
]


def name(case):
    block, words = case
    return f"{block.get('type') or next(iter(block))}-{words or 'nothing'}"


def test_the_table_has_every_standard_block():
    standard = {get_args(get_type_hints(kind)["type"])[0] for kind in get_args(ContentBlock)}
    assert standard <= {block["type"] for block, _ in STANDARD}


@pytest.mark.parametrize(("block", "words"), STANDARD + RAW, ids=map(name, STANDARD + RAW))
def test_the_conversation_goes_on_with_what_can_be_read(block, words, caplog):
    for content in ([block], [{"type": "text", "text": "Yes."}, block], [block, "Yes."]):
        with caplog.at_level(logging.DEBUG, "pad_langchain"):
            question, answer, more = to_chat_dicts([HumanMessage("?"), AIMessage(content), HumanMessage("And?")])
        said = [words, "Yes."] if content[0] is block else ["Yes.", words]
        assert answer["content"] == "\n".join(filter(None, said if len(content) > 1 else [words]))
        assert (question["content"], more["content"]) == ("?", "And?")
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


def test_what_is_left_out_is_logged_for_whoever_debugs(caplog):
    with caplog.at_level(logging.DEBUG, "pad_langchain"):
        to_chat_dicts([AIMessage([{"type": "redacted_thinking", "data": "secret"}])])
    assert "assistant message has a block of type 'redacted_thinking'" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("kind", ["image", "audio", "video", "file"])
def test_a_picture_that_is_to_be_answered_now_is_refused_and_an_answered_one_left_out(kind):
    asked = HumanMessage(
        [{"type": "text", "text": "What is it?"}, {"type": kind, "base64": "AA==", "mime_type": "x/y"}]
    )
    with pytest.raises(InvalidRequestError, match=f"A user message has a block of type '{kind}', but this model reads"):
        to_chat_dicts([HumanMessage("Hi"), AIMessage("Hello."), asked])
    dicts = to_chat_dicts([asked, AIMessage("A dog."), HumanMessage("What breed?")])
    assert [message["content"] for message in dicts] == ["What is it?", "A dog.", "What breed?"]
    with pytest.raises(InvalidRequestError, match="A system message has a block"):
        to_chat_dicts([SystemMessage(asked.content), AIMessage("Hello."), HumanMessage("Hi")])


def test_a_tools_picture_is_refused_until_it_is_answered():
    call = {"name": "look", "args": {}, "id": "c1", "type": "tool_call"}
    seen = ToolMessage([{"type": "image", "base64": "AA==", "mime_type": "image/png"}], tool_call_id="c1")
    talk = [HumanMessage("Look"), AIMessage("", tool_calls=[call]), seen]
    with pytest.raises(InvalidRequestError, match="A tool message has a block of type 'image'"):
        to_chat_dicts(talk)
    assert to_chat_dicts([*talk, AIMessage("A dog.")])[2]["content"] == ""


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}},
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "tool_call", "id": "c1", "name": "f", "args": {"a": 1}},
    ],
    ids=["anthropic", "bedrock", "openai", "langchain"],
)
@pytest.mark.parametrize(
    "result",
    [
        ToolMessage("3", tool_call_id="c1"),
        HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "3"}]}]),
        HumanMessage([{"toolResult": {"toolUseId": "c1", "content": [{"json": 3}]}}]),
        HumanMessage([{"type": "function_call_output", "call_id": "c1", "output": "3"}]),
    ],
    ids=["message", "anthropic", "bedrock", "openai"],
)
def test_calls_and_results_in_blocks_are_calls_and_turns(block, result):
    _, asked, answered = to_chat_dicts([HumanMessage("?"), AIMessage([block]), result])
    assert [(call["id"], call["function"]) for call in asked["tool_calls"]] == [
        ("c1", {"name": "f", "arguments": {"a": 1}})
    ]
    assert answered == {"role": "tool", "tool_call_id": "c1", "content": "3"}


def test_a_call_in_both_places_is_made_once_and_half_a_call_may_be_answered():
    call = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    half = {"type": "tool_use", "id": "c2", "name": "f", "input": '{"a'}
    blocks = [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}, half]
    asked, *_ = to_chat_dicts([AIMessage(blocks, tool_calls=[call]), ToolMessage("no", tool_call_id="c2")])
    assert [each["id"] for each in asked["tool_calls"]] == ["c1"]


def test_a_result_comes_before_the_words_beside_it():
    blocks = [{"type": "tool_result", "tool_use_id": "c1", "content": "3"}, {"type": "text", "text": "And now?"}]
    call = {"name": "f", "args": {}, "id": "c1", "type": "tool_call"}
    dicts = to_chat_dicts([AIMessage("", tool_calls=[call]), HumanMessage(blocks)])
    assert [(message["role"], message["content"]) for message in dicts[1:]] == [("tool", "3"), ("user", "And now?")]


def test_what_openai_keeps_beside_the_content_is_said():
    refused = AIMessage("", additional_kwargs={"refusal": "I cannot."})
    spoken = AIMessage("", additional_kwargs={"audio": {"id": "a", "data": "AA==", "transcript": "Hello."}})
    thought = AIMessage("Yes.", additional_kwargs={"reasoning_content": "hm", "refusal": None})
    dicts = to_chat_dicts([refused, spoken, thought])
    assert dicts == [{"role": "assistant", "content": text} for text in ("I cannot.", "Hello.", "Yes.")]
    assert chat_dicts([{"role": "assistant", "content": None, "refusal": "No."}])[0]["content"] == "No."


def test_an_openai_developer_turn_is_the_systems():
    developer = SystemMessage("Be kind.", additional_kwargs={"__openai_role__": "developer"})
    assert to_chat_dicts([developer]) == [{"role": "system", "content": "Be kind."}]


@pytest.mark.parametrize("content", [[3], [None], {"type": "text", "text": "a"}], ids=str)
def test_what_is_no_content_is_refused_with_words(content):
    with pytest.raises(InvalidRequestError, match=r"user message (has to be|has)"):
        chat_dicts([{"role": "user", "content": content}])


# ---- LlamaIndex

UNREADABLE = [ImageBlock(image=b"x"), AudioBlock(audio=b"x"), VideoBlock(video=b"x"), DocumentBlock(data=b"%PDF-1.4")]


@pytest.mark.parametrize("block", UNREADABLE, ids=lambda block: block.block_type)
def test_llama_indexs_blocks_of_earlier_turns_are_left_out(block):
    text = TextBlock(text="Yes.")
    history = [
        ChatMessage([text, block]),
        ChatMessage([block, text, CachePoint(cache_control={"type": "x"})], role="assistant"),
    ]
    assert [message["content"] for message in llama_dicts(history)] == ["Yes.", "Yes."]
    with pytest.raises(InvalidRequestError, match=f"A user message has a block of type '{block.block_type}'"):
        llama_dicts([*history, ChatMessage([block])])


def test_llama_indexs_text_documents_are_words():
    document = DocumentBlock(data=b"a file", document_mimetype="text/plain")
    assert llama_dicts([ChatMessage([document])])[0]["content"] == "a file"


def test_refusals_and_calls_that_llama_index_keeps_beside_the_blocks():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    talk = [
        ChatMessage("", role="assistant", additional_kwargs={"refusal": "I cannot."}),
        ChatMessage("", role="assistant", additional_kwargs={"tool_calls": [call]}),
        ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "c1"}),
    ]
    refused, asked, _ = llama_dicts(talk)
    assert refused["content"] == "I cannot."
    assert asked["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
