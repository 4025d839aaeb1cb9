"""An OpenAI-compatible server over `pad_langchain.chat`. It needs the extra `serve`.

app = build_app(ServerSettings("pad-demo"))     # any ASGI server runs it; `pad-langchain serve` is uvicorn
"""

from __future__ import annotations

from pad_langchain.errors import MissingDependencyError

try:
    import fastapi  # noqa: F401
    import jwt  # noqa: F401
    import prometheus_client  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f'The server is not installed ({error}). Install it: pip install "pad-langchain[serve]"'
    ) from error

from pad_langchain.server.app import build_app
from pad_langchain.server.settings import ServerSettings

__all__ = ["ServerSettings", "build_app"]
