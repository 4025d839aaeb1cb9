"""The command line: `pad-langchain chat`, `serve`, `feedback`, `memory`, `mcp`, `train`, … Models load late."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pad_langchain.cli.adapt import adapt
from pad_langchain.cli.cache import cache_app
from pad_langchain.cli.deploy import deploy_app
from pad_langchain.cli.keys import keys_app
from pad_langchain.cli.mcp import mcp
from pad_langchain.cli.memory import memory_app
from pad_langchain.cli.options import (
    AnyTerminal,
    EngineUrl,
    MemoryPath,
    ModelName,
    NoRepeat,
    Penalty,
    Place,
    RewardModelName,
    TopK,
    default_model,
    one_line_errors,
    open_memory,
    quiet_libraries,
)
from pad_langchain.cli.serve import serve
from pad_langchain.cli.train import evaluate, train
from pad_langchain.defaults import model_folder

if TYPE_CHECKING:
    from pad_langchain.chat import Chat, ChatSettings
    from pad_memory import Feedback

__all__ = ["app"]

app = typer.Typer(
    name="pad-langchain",
    cls=AnyTerminal,
    help="A chat model that learns how each user likes its answers. Everything stays on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.add_typer(keys_app, name="keys")
app.add_typer(deploy_app, name="deploy")
app.add_typer(memory_app, name="memory")
app.add_typer(cache_app, name="cache")
app.command()(mcp)
app.command()(train)
app.command()(adapt)
app.command()(evaluate)


@app.command()
def chat(
    model: ModelName = None,
    reward_model: RewardModelName = "auto",
    memory: MemoryPath = None,
    user: Annotated[str, typer.Option(help="Who is talking.")] = "me",
    default: Annotated[
        list[str] | None,
        typer.Option(help="A wish that steers for everybody who does not wish otherwise; may be repeated."),
    ] = None,
    selective: Annotated[
        bool, typer.Option(help="Hold wishes about how to talk to you back from texts for others, such as letters.")
    ] = True,
    beta: Annotated[
        float | None, typer.Option(help="Guidance strength; 0 is the base model. [default: the PersRM's]")
    ] = None,
    top_k: TopK = None,
    wish_place: Place = None,
    repetition_penalty: Penalty = None,
    no_repeat_ngram: NoRepeat = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="New tokens an answer at most.")] = 256,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    thread: Annotated[
        str | None,
        typer.Option(help="Id of this conversation, for wishes that hold in it only. [default: a new one]"),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="What runs a GGUF file: llama.cpp, torch, or auto: llama.cpp where it is installed.")
    ] = "auto",
    weights: Annotated[
        str | None,
        typer.Option(help="int8: torch on a CPU reads a quarter of the bytes. [default: none]"),
    ] = None,
    engine_url: EngineUrl = None,
    threads: Annotated[int | None, typer.Option(help="llama.cpp: threads of the CPU. [default: those free]")] = None,
    gpu_layers: Annotated[int | None, typer.Option(help="llama.cpp: layers on a GPU; -1 is all. [default: 0]")] = None,
    context_length: Annotated[
        int | None, typer.Option(help="llama.cpp: tokens of a conversation. [default: the model's, at most 8192]")
    ] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Repeat each line that is read, for transcripts.")] = False,
) -> None:
    """Talk, say what you like, and watch the answers change. It reads a script from a pipe as well."""
    from pad_langchain.chat import ChatSettings

    llama = {"threads": threads, "gpu_layers": gpu_layers, "context_length": context_length}
    with one_line_errors():
        settings = ChatSettings(
            weights=weights,  # type: ignore[arg-type]
            url=engine_url or None,
            backend=backend,  # type: ignore[arg-type]  # pydantic refuses another word
            engine_settings={name: value for name, value in llama.items() if value is not None},
            reward_model=None if reward_model.lower() == "none" else reward_model,
            defaults=default or (),  # type: ignore[arg-type]
            selective=selective,
            beta=beta,
            top_k=top_k,
            wish_place=wish_place,  # type: ignore[arg-type]
            repetition_penalty=repetition_penalty,
            no_repeat_ngram=no_repeat_ngram,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
        )
        _talk(default_model() if model is None else model, settings, memory, user, thread, echo)


def _talk(model: str, settings: ChatSettings, memory: str | None, user: str, thread: str | None, echo: bool) -> None:
    """Open the memory and have a conversation. At a terminal, a model on the disk loads while the user types."""
    from pad_langchain.cli.chat import ChatSession
    from pad_langchain.cli.loading import Loading

    console = Console(highlight=False)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    with open_memory(memory, or_temporary=True) as store:
        store.events(user)  # refuses a bad id before the conversation begins
        settings.memory = store
        background = interactive and Path(model_folder(model)).exists()
        loading = Loading(partial(_load, model, settings), console, background=background)
        session = ChatSession(loading, store, user, console, thread=thread, interactive=interactive, echo=echo)
        session.run(sys.stdin)
    loading.leave()


def _load(model: str, settings: ChatSettings) -> Chat:
    from pad_langchain.chat import Chat
    from pad_langchain.chat.condition import check_defaults

    quiet_libraries()
    check_defaults(settings.defaults, settings.memory)
    loaded = Chat.of(model, settings)
    if settings.repetition_penalty is None:  # a small model repeats itself without a wish as well
        settings.repetition_penalty = loaded.engine.recommended.repetition_penalty
    return loaded


@app.command()
def feedback(
    user: Annotated[str, typer.Argument(help="Whose feedback.")],
    prefer: Annotated[str | None, typer.Option(help="A preference in words.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The question that was answered.")] = None,
    response: Annotated[str | None, typer.Option(help="The answer that is judged.")] = None,
    like: Annotated[bool | None, typer.Option("--like/--dislike", help="Thumb up or down for the answer.")] = None,
    rate: Annotated[float | None, typer.Option(help="1 (worst) to 5 (best) for the answer.")] = None,
    edit: Annotated[str | None, typer.Option(help="The answer as it should have been.")] = None,
    critique: Annotated[str | None, typer.Option(help="What is wrong with the answer.")] = None,
    chosen: Annotated[str | None, typer.Option(help="The better of two answers.")] = None,
    rejected: Annotated[str | None, typer.Option(help="The worse of two answers.")] = None,
    thread: Annotated[str | None, typer.Option(help="Id of the conversation it belongs to.")] = None,
    memory: MemoryPath = None,
) -> None:
    """Record one piece of feedback. The next chat with a PersRM weighs it."""
    with one_line_errors():
        event = _event(prefer, prompt, response, like, rate, edit, critique, chosen, rejected)
        event = replace(event, thread=thread)
        with open_memory(memory) as store:
            typer.echo(f"recorded {store.record(user, event)}")


def _event(
    prefer: str | None,
    prompt: str | None,
    response: str | None,
    like: bool | None,
    rate: float | None,
    edit: str | None,
    critique: str | None,
    chosen: str | None,
    rejected: str | None,
) -> Feedback:
    from pad_memory import Choice, Critique, Edit, Rating, Statement, Thumb

    said = [value for value in (prefer, like, rate, edit, critique, chosen) if value is not None]
    if len(said) != 1:
        raise typer.BadParameter(
            f"one kind of feedback is needed, but got {len(said)}. Use one of --prefer, --like, --dislike, --rate, "
            "--edit, --critique, or --chosen with --rejected."
        )
    if prefer is not None:
        return Statement(prefer)
    question: Any = prompt  # the events refuse a missing text themselves and name the field
    answer: Any = response
    if chosen is not None:
        return Choice(prompt=question, chosen=chosen, rejected=rejected or "")
    if like is not None:
        return Thumb(prompt=question, response=answer, up=like)
    if rate is not None:
        return Rating(prompt=question, response=answer, rating=rate)
    if edit is not None:
        return Edit(prompt=question, response=answer, edited=edit)
    return Critique(prompt=question, response=answer, text=critique or "")
