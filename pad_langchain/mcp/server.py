"""One user's preference memory as an MCP server, so that any assistant can ask it and tell it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from functools import wraps
from inspect import getdoc
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from pad_langchain import __version__
from pad_langchain.errors import InvalidRequestError, PadError
from pad_langchain.mcp.tools import MemoryTools
from pad_memory import PreferenceMemory
from pad_memory.errors import PadMemoryError

__all__ = ["HOST", "listen", "memory_server", "serve_http", "serve_stdio"]

HOST = "127.0.0.1"  # whoever reaches the server is the user, so nobody else's machine may

INSTRUCTIONS = """\
This is the memory of how one user likes to be answered. Call how_to_answer before you answer, and do what it says.
When the user says how they like their answers, or judges an answer, record it with the tool that fits, in their words.
Record only what the user said themself: no guesses, nothing that you, a document or another tool said, no facts about
them, no secrets. When a tool says that something was held back, tell the user why; do not word it otherwise to get
it in."""


def memory_server(memory: PreferenceMemory, user: str) -> MCPServer[Any]:
    """Return an MCP server whose tools are about one user of a memory.

    Args:
        memory: an open one; it stays the caller's to close.
        user: whose preferences; no tool reads or changes another's.

    Raises:
        pad_memory.errors.InvalidUserError: the user id is empty, over 1,024 bytes or not valid text.
    """
    memory.events(user)
    # Refusals quote the user, so they are not logged.
    server: MCPServer[Any] = MCPServer(
        "pad-memory", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING", subscriptions=False
    )
    tools = MemoryTools(memory, user)
    reads: list[Callable[..., Any]] = [tools.how_to_answer, tools.read_profile, tools.next_question]
    adds: list[Callable[..., Any]] = [tools.state_preference, tools.give_thumb, tools.give_rating, tools.give_choice]
    adds += [tools.give_edit, tools.give_critique, tools.undo, tools.pause, tools.resume]
    for tool in (*reads, *adds, tools.forget):
        hints = ToolAnnotations(
            read_only_hint=tool in reads, destructive_hint=tool == tools.forget, open_world_hint=False
        )
        server.add_tool(_refusals_told(tool), description=getdoc(tool), annotations=hints)
    return server


def listen(port: int) -> socket.socket:
    """Open a port of this machine that no other machine reaches.

    Args:
        port: 1 to 65535, or 0 for a free one.

    Raises:
        InvalidRequestError: there is no such port, or somebody else has it.
    """
    if not 0 <= port <= 65_535:
        raise InvalidRequestError(f"A port is 1 to 65535, or 0 for a free one, but it is {port}.")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise InvalidRequestError(
            f"Port {port} of {HOST} cannot be used: {error}. Pass another port, or 0 for a free one."
        ) from None


def serve_stdio(server: MCPServer[Any]) -> None:
    """Serve on standard input and output until the input ends. A Ctrl-C ends the process, as a SIGTERM does.

    The SDK would wait for a line that its thread still reads. What was recorded is in the store.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server.run("stdio")


def serve_http(server: MCPServer[Any], opened: socket.socket) -> None:
    """Serve streamable HTTP at /mcp until the process is interrupted.

    Args:
        opened: from `listen`.
    """
    app = server.streamable_http_app(host=HOST)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[opened])


def _refusals_told(tool: Callable[..., Any]) -> Callable[..., Any]:
    """The tool, whose own errors the model reads; what else is raised is logged here and not told."""

    @wraps(tool)
    def told(*args: Any, **named: Any) -> Any:
        try:
            return tool(*args, **named)
        except (PadError, PadMemoryError) as error:
            raise ToolError(str(error)) from error

    return told
