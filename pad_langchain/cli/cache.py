"""`pad-langchain cache`: the dequantised weights of GGUF files, which can be made again."""

from __future__ import annotations

import time

import typer

from pad_langchain.cli.options import one_line_errors

__all__ = ["cache_app"]

cache_app = typer.Typer(help="Weights of GGUF files that were dequantised for torch.", no_args_is_help=True)


@cache_app.command("show")
def show() -> None:
    """List what is kept: its size, the type of its weights, its last use, and the file it was made from."""
    from pad_langchain.models.gguf import dequantised
    from pad_langchain.paths import cache_folder

    with one_line_errors():
        kept = dequantised()
        for one in kept:
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used))
            typer.echo(f"{_size(one.size):>9}  {one.dtype:<8}  {used}  {one.source}")
        typer.echo(f"{_size(sum(one.size for one in kept))} in {cache_folder()}")


@cache_app.command("clear")
def clear() -> None:
    """Remove all of it. The next start of a GGUF file in torch makes its weights again."""
    from pad_langchain.models.gguf import clear_dequantised

    with one_line_errors():
        typer.echo(f"{_size(clear_dequantised())} freed")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
