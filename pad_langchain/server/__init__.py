"""An OpenAI-compatible server over `pad_langchain.chat`. It needs the extra `serve`."""

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
