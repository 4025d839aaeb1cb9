"""Settings that nobody reads are refused with the nearest name, in every face, file and command."""

from __future__ import annotations

import warnings

import pytest
import yaml
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd
from langchain_core.runnables import ConfigurableField
from llama_index.core.llms import ChatMessage
from pydantic import AliasChoices, AliasPath, ConfigDict, Field, ValidationError, model_validator
from typer.testing import CliRunner

from pad_langchain import PADLLM, ChatPAD, InvalidRequestError
from pad_langchain.chat import ChatSettings
from pad_langchain.cli.main import app
from pad_langchain.engine.settings import split_settings
from pad_langchain.evaluation.config import EvaluateConfig
from pad_langchain.langchain import PreferenceMiddleware, PreferenceStore
from pad_langchain.llama_index import PADEmbedding, PreferenceMemoryBlock
from pad_langchain.testing import HashEmbedder
from pad_langchain.training.config import TrainConfig
from pad_memory import PreferenceMemory

FACES = {
    "ChatPAD": ChatPAD,
    "PADLLM": PADLLM,
    "ChatSettings": ChatSettings,
    "PADEmbedding": lambda **more: PADEmbedding(embedder=HashEmbedder(), **more),
    "PreferenceMemoryBlock": lambda **more: PreferenceMemoryBlock(memory=None, user_id="ada", **more),
}
NEAR = {
    "ChatPAD": {"temprature": "temperature", "require_users": "require_user", "modle": "model"},
    "PADLLM": {"temprature": "temperature", "require_users": "require_user", "context_windows": "context_window"},
    "ChatSettings": {"max_token": "max_tokens", "wishplace": "wish_place", "repeat_penalty": "repetition_penalty"},
    "PADEmbedding": {"embeder": "embedder", "embed_batchsize": "embed_batch_size"},
    "PreferenceMemoryBlock": {"user": "user_id", "budgets": "budget"},
}
CASES = [(face, wrong, right) for face, names in NEAR.items() for wrong, right in names.items()]


@pytest.mark.parametrize(("face", "wrong", "right"), CASES)
def test_an_unknown_setting_is_refused_with_the_nearest_name(face, wrong, right):
    with pytest.raises(ValidationError, match=rf"{face} has no setting '{wrong}'\. Did you mean '{right}'"):
        FACES[face](**{wrong: 1})


@pytest.mark.parametrize("face", FACES)
def test_a_setting_that_is_like_no_other_is_refused_with_all_there_are(face):
    with pytest.raises(ValidationError, match=rf"{face} has no setting 'xyzzy'. There are \['"):
        FACES[face](xyzzy=1)


def test_what_other_local_models_call_a_thing_is_led_to_our_name():
    ours_of = {"format": "response_format", "reasoning": "chat_template_kwargs", "max_new_tokens": "max_tokens"}
    for name, ours in ours_of.items():
        with pytest.raises(ValidationError, match=f"no setting '{name}'. (Here it is|Did you mean) .*{ours}"):
            ChatPAD(**{name: "json"})


@pytest.mark.parametrize("name", ["api_key", "timeout", "max_retries", "streaming", "model", "model_name", "cache"])
def test_langchains_standard_names_pass(name):
    value = {"api_key": "k", "model": "m", "model_name": "m", "streaming": True, "cache": False}.get(name, 1)
    assert getattr(ChatPAD(**{name: value}), "model_name" if name == "model" else name) is not None


def test_names_of_llama_index_pass():
    llm = PADLLM(system_prompt="Be kind.", messages_to_prompt=str, completion_to_prompt=str, callback_manager=None)
    assert llm.system_prompt == "Be kind."


def test_subclasses_have_fields_aliases_and_validators_of_their_own():
    class Own(ChatPAD):
        tone: str = "calm"
        shade: int = Field(default=0, alias="hue")
        depth: int = Field(default=0, validation_alias=AliasChoices("deep", AliasPath("deeps", 0)))

        @model_validator(mode="before")
        @classmethod
        def old_names(cls, values):
            return {("tone" if name == "old_tone" else name): value for name, value in values.items()}

    made = Own(old_tone="wild", hue=3, deeps=[4], temperature=0.5)
    assert (made.tone, made.shade, made.depth, made.temperature) == ("wild", 3, 4, 0.5)
    with pytest.raises(ValidationError, match=r"Own has no setting 'tones'. Did you mean 'tone'"):
        Own(tones="wild")

    class Open(PADLLM):
        model_config = ConfigDict(extra="allow")

    assert Open(whatever=1).whatever == 1


def test_copies_bindings_and_round_trips_go_on(folders):
    llm = ChatPAD(model=folders[0], temperature=0.5, stop=["x"], max_tokens=2, cache=InMemoryCache())
    llm.invoke("hi")
    assert llm.model_copy(update={"seed": 1}).seed == 1
    assert llm.with_config(tags=["t"]).invoke("hi").content == llm.bind(temperature=0.5).invoke("hi").content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about LangChain's own fields
        dumped = llm.model_dump()
        assert ChatPAD(**dumped).temperature == ChatPAD.model_validate(dumped).temperature == 0.5
        assert ChatPAD(**llm.dict()).temperature == 0.5
        assert PADLLM(**PADLLM(model=folders[0]).model_dump()).model == folders[0]
    assert dumpd(llm)["name"] == "ChatPAD"
    switched = llm.configurable_fields(temperature=ConfigurableField("warmth"))
    assert switched.invoke("hi", {"configurable": {"warmth": 0.0}}).response_metadata["model_name"] == folders[0]
    back = PADLLM.from_dict(PADLLM(model=folders[0], temperature=0.5).to_dict())
    assert (back.model, back.temperature) == (folders[0], 0.5)
    assert PADLLM.from_json(back.to_json()).temperature == 0.5


def test_an_unknown_keyword_of_a_call_is_refused_with_the_nearest_name(folders):
    with pytest.raises(
        InvalidRequestError, match=r"unknown keywords \['temprature'\]. Allowed: .* Did you mean 'temperature'"
    ):
        ChatPAD(model=folders[0]).invoke("hi", temprature=1)
    with pytest.raises(
        InvalidRequestError, match=r"unknown keywords \['format'\]. Allowed: .* Here it is with_structured_output"
    ):
        ChatPAD(model=folders[0]).bind(format="json").invoke("hi")
    with pytest.raises(
        InvalidRequestError, match=r"PADLLM got unknown keywords \['users'\]. Allowed: .* Did you mean 'user_id'"
    ):
        PADLLM(model=folders[0]).chat([ChatMessage("hi")], users="ada")


def test_engine_settings_are_looked_at_when_they_are_written():
    with pytest.raises(ValidationError, match=r"The engine has no setting 'max_batchs'. Did you mean 'max_batch'"):
        ChatPAD(engine_settings={"max_batchs": 4})
    passed = {"device_map": "auto", "revision": "v2", "max_memory": {0: "1GB"}, "max_batch": 2}
    mine, _, others = split_settings(passed)
    assert (mine, set(others)) == ({"max_batch": 2}, {"device_map", "revision", "max_memory"})


def test_faces_without_keywords_of_their_own_refuse_too():
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        with pytest.raises(TypeError, match="user_fields"):
            PreferenceMiddleware(memory, user_fields="account")
        with pytest.raises(TypeError, match="users_at"):
            PreferenceStore(memory, users_at=1)


@pytest.mark.parametrize(
    ("kind", "wrong", "right"), [(TrainConfig, "outputs", "output"), (EvaluateConfig, "prompt", "prompts")]
)
def test_settings_files_are_refused_with_the_nearest_name(kind, wrong, right):
    with pytest.raises(InvalidRequestError, match=f"no setting '{wrong}', did you mean '{right}'"):
        kind(**{wrong: "x"})


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (["chat", "--temprature", "1"], "--temperature"),
        (["feedback", "ada", "--prefers", "x"], "--prefer"),
        (["memory", "show", "ada", "--event"], "--events"),
        (["train", "c.yaml", "--outputs", "x"], "--output"),
    ],
)
def test_options_of_the_command_are_refused_with_the_nearest_name(args, near):
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert near in result.output


def test_a_settings_file_of_the_command_says_it_in_a_line(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"bases": "x", "output": "y"}))
    result = CliRunner().invoke(app, ["train", str(config)])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "no setting 'bases', did you mean 'base'?" in result.output
