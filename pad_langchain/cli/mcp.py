"""`pad-langchain mcp`: the preference memory of one user for any assistant that speaks MCP."""

from __future__ import annotations

from typing import Annotated

import typer

from pad_langchain.cli.options import MemoryPath, one_line_errors, open_memory

__all__ = ["mcp"]


def mcp(
    user: Annotated[str, typer.Option(help="Whose memory it is.")] = "me",
    memory: MemoryPath = None,
    http: Annotated[
        bool, typer.Option("--http", help="Serve streamable HTTP on this machine, not standard input and output.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port of --http; 0 is a free one.")] = 8321,
) -> None:
    """Let an assistant read and teach the preference memory of one user, over MCP; see docs/mcp.md."""
    with one_line_errors():
        from pad_langchain.mcp import HOST, listen, memory_server, serve_http, serve_stdio

        with open_memory(memory) as store:
            server = memory_server(store, user)
            if not http:
                serve_stdio(server)
                return
            with listen(port) as opened:
                typer.echo(f"http://{HOST}:{opened.getsockname()[1]}/mcp is the memory of {user!r}", err=True)
                serve_http(server, opened)
