"""`pad-langchain serve`: an OpenAI-compatible server, from the command line."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pad_langchain.cli.options import (
    EngineUrl,
    ModelName,
    default_memory_path,
    default_model,
    one_line_errors,
    quiet_libraries,
)
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.server.settings import ServerSettings

__all__ = ["serve"]

FIRST_USER = "me"  # who talks in `pad-langchain chat`, too


def serve(
    model: ModelName = None,
    reward_model: Annotated[
        str | None, typer.Option(help="Folder or hub id of the PersRM, 'self', 'none' or 'auto'. [default: auto]")
    ] = None,
    engine_url: EngineUrl = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            help="A model whose PersRM judges what feedback says of answers, where the one that answers cannot."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Folder of the preference memory, http:// address of a Chroma server, or none. "
            "[default: PAD_MEMORY, else that of pad-langchain chat]"
        ),
    ] = None,
    answer_retention: Annotated[
        float | None,
        typer.Option(help="Seconds for which answers are kept on disk for feedback by id. [default: none are]"),
    ] = None,
    default: Annotated[
        list[str] | None, typer.Option(help="A wish for all users, which a user's own outweigh; may be repeated.")
    ] = None,
    selective: Annotated[
        bool | None,
        typer.Option(
            "--selective/--no-selective",
            help="Hold wishes about how to talk to a user back from texts for others. [default: yes]",
        ),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(help="File of the keys; see pad-langchain keys. [default: one in the user's data folder]"),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; one that others reach needs --keys. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8700]")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests per minute of one key. [default: any]")] = None,
    engine_settings: Annotated[
        str | None, typer.Option(help="Settings of the engine, as a mapping in YAML: '{max_batch: 8, threads: 4}'.")
    ] = None,
    trusted_host: Annotated[
        list[str] | None, typer.Option(help="A name under which the server is called; may be repeated.")
    ] = None,
    allowed_origin: Annotated[
        list[str] | None, typer.Option(help="Origin of web pages that may call; may be repeated.")
    ] = None,
    shutdown_grace: Annotated[
        float | None, typer.Option(help="Seconds that answers get to end when the server stops. [default: 60]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of these and more settings. Flags and PAD_SERVER_… precede it.")
    ] = None,
) -> None:
    """Serve an OpenAI-compatible API: chat that each user can teach. Ctrl-C ends it."""
    flags = {
        "model": model,
        "reward_model": reward_model,
        "engine_url": engine_url or None,
        "scorer": scorer,
        "memory": memory,
        "answer_retention_s": answer_retention,
        "defaults": default or None,
        "selective": selective,
        "keys": keys,
        "host": host,
        "port": port,
        "rate": rate,
        "engine_settings": engine_settings,
        "trusted_hosts": trusted_host or None,
        "allowed_origins": allowed_origin or None,
        "shutdown_grace_s": shutdown_grace,
    }
    with one_line_errors():
        from pad_langchain.server.settings import ServerSettings

        defaults = {
            "model": default_model,
            "memory": lambda: os.environ.get("PAD_MEMORY") or str(default_memory_path()),
        }
        _serve(ServerSettings.load(flags, os.environ, config=config, defaults=defaults))


def _serve(settings: ServerSettings) -> None:
    from pad_langchain.server.app import build_app
    from pad_langchain.server.process import run

    _log()
    _check_keys(settings)
    quiet_libraries()
    where = "" if settings.engine_url is None else f" of {', '.join(settings.engine_url)}"
    typer.echo(f"Loading {settings.model}{where} …")
    run(build_app(settings), settings, lambda address: typer.echo(_listening(address)))


def _listening(address: str) -> str:
    return f"{address}/v1 answers, and {address}/ is a page to chat. Ctrl-C ends it."


def _log() -> None:
    """Log to stderr: a line for each request, and what went wrong, with the id of the request that had it happen."""
    from pad_langchain.server.tracing import RequestIds

    handler = logging.StreamHandler()
    handler.addFilter(RequestIds())
    form = "%(asctime)s %(levelname)s %(message)s%(request)s"
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler])
    logging.getLogger("pad_langchain.server").setLevel(logging.INFO)


def _check_keys(settings: ServerSettings) -> None:
    """Make the first key, where only this machine can call. It is of the user that `pad-langchain chat` talks with.

    Raises:
        InvalidRequestError: no key is valid, and none is made.
    """
    from pad_langchain.server.keys import Keys
    from pad_langchain.server.settings import is_loopback

    keys = Keys.open(settings.keys_file)
    known, place = keys.list(), str(settings.keys_file)
    if not known and is_loopback(settings.host):
        _, secret = keys.create("user", user=FIRST_USER)
        typer.echo(f"The first key, of the user {FIRST_USER!r}. It is shown this once:\n\n    {secret}\n")
        typer.echo("For apps with several users: pad-langchain keys create --role app")
    elif all(key.revoked for key in known):
        file = "" if settings.keys is None else f" --keys {place}"
        raise InvalidRequestError(
            f"No key in {place!r} is valid, so nobody could call. Make one: pad-langchain keys create{file} --user NAME"
        )
    else:
        typer.echo(f"The keys are in {place}; pad-langchain keys create makes another.")
