"""One user's preference memory for any assistant that speaks MCP. It needs the extra `mcp`."""

from __future__ import annotations

from pad_langchain.errors import MissingDependencyError

try:
    import mcp  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f'The MCP SDK is not installed ({error}). Install it: pip install "pad-langchain[mcp]"'
    ) from error

from pad_langchain.mcp.server import HOST, listen, memory_server, serve_http, serve_stdio

__all__ = ["HOST", "listen", "memory_server", "serve_http", "serve_stdio"]
