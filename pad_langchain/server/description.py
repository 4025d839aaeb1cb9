"""What /openapi.json says beside the routes' models: the key, and the header by which an app names its user."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from pad_langchain.server.api.replies import ERRORS
from pad_langchain.server.guard import PROBES
from pad_langchain.server.settings import ServerSettings

__all__ = ["describe"]

_KEY = {"type": "http", "scheme": "bearer", "description": "A key of `pad-langchain keys create`."}


def describe(app: FastAPI, settings: ServerSettings) -> None:
    """Have an app's OpenAPI document say how its routes are called. It is made at the first need."""
    generate = app.openapi
    user = {
        "name": settings.user_header,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Whom an app's key acts for.",
    }

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            components["securitySchemes"] = {"key": _KEY}
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    for status in ERRORS:  # in whatever form a route answers else
                        error = operation["responses"][status]
                        error["content"] = {"application/json": next(iter(error["content"].values()))}
                    operation["security"] = [] if path in PROBES else [{"key": []}]
                    if path.startswith("/v1/"):
                        operation.setdefault("parameters", []).append(user)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's documentation extends it
