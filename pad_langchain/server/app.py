"""`build_app`: the ASGI app of a server. uvicorn runs it, and so does whatever else speaks ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from pad_langchain._version import __version__
from pad_langchain.chat import Chat
from pad_langchain.server.api import completions, feedback, preferences, responses
from pad_langchain.server.api.replies import ERRORS, Model, Models, Status
from pad_langchain.server.description import describe
from pad_langchain.server.errors import ApiError, translate
from pad_langchain.server.guard import protect
from pad_langchain.server.identity import administrator
from pad_langchain.server.keys import Keys
from pad_langchain.server.metrics import Metrics
from pad_langchain.server.page import files, login
from pad_langchain.server.service import Service, load_chat, service_of
from pad_langchain.server.settings import ServerSettings

__all__ = ["build_app"]

router = APIRouter()


def build_app(settings: ServerSettings, load: Callable[[ServerSettings], Chat] = load_chat) -> FastAPI:
    """Make the app of a server. Models load and warm up when it starts, not here.

    `app.state.draining = True` makes /ready say 503, for a balancer to look elsewhere before the app stops.

    Args:
        settings: the server's.
        load: makes the chat that answers, in a thread. The app closes its engine and its memory at the end.
    """
    app = FastAPI(
        title="pad-langchain",
        version=__version__,
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        responses=ERRORS,
        separate_input_output_schemas=False,  # which would call what may be left out required
    )
    app.state.settings, app.state.load, app.state.metrics = settings, load, Metrics()
    app.state.service, app.state.draining = None, False
    app.state.keys = Keys.open(settings.keys_file)
    api = (completions.router, responses.router, feedback.router, preferences.router)
    for part in (router, *api, files.router, login.router):
        app.include_router(part)
    describe(app, settings)
    app.add_exception_handler(RequestValidationError, _refuse)
    protect(app, settings, app.state.keys, app.state.metrics, files.PAGE_PATHS | login.LOGIN_PATHS)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    def start() -> Service:
        settings = app.state.settings
        service = Service(settings, app.state.load(settings), app.state.metrics)
        try:
            service.warm_up()
        except BaseException:
            service.close()
            raise
        return service

    app.state.service = await asyncio.to_thread(start)
    try:
        yield
    finally:
        await asyncio.to_thread(app.state.service.close)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """Answer a body that is no request. The framework's own answer would send the body back."""
    told = translate(error)
    return JSONResponse(told.body(), told.status)


@router.get("/health", response_model=Status)
async def health(request: Request) -> dict[str, str]:
    """Say whether the process can answer at all."""
    service = request.app.state.service
    if service is not None and not service.chat.engine.alive:
        raise ApiError(503, "not_ready", "The engine has stopped. Restart the server.")
    return {"status": "ok"}


@router.get("/ready", response_model=Status)
async def ready(request: Request) -> dict[str, str]:
    """Say whether requests should be sent here now."""
    if request.app.state.draining:
        raise ApiError(503, "shutting_down", "The server shuts down. Try again later.", retry_after=5)
    engine = service_of(request).chat.engine
    if not await asyncio.to_thread(engine.ready):  # it may ask servers
        raise ApiError(503, "not_ready", "No server that decodes answers. Try again later.", retry_after=5)
    return {"status": "ready"}


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return what the server counts, for Prometheus with an admin key."""
    administrator(request.state.caller)
    counted: Metrics = request.app.state.metrics
    return Response(counted.render(), media_type=counted.content_type)


@router.get("/v1/models", response_model=Models)
async def list_models(request: Request) -> dict[str, Any]:
    """List the one model that answers."""
    return {"object": "list", "data": [_model(service_of(request))]}


@router.get("/v1/models/{model:path}", response_model=Model)
async def retrieve_model(model: str, request: Request) -> dict[str, Any]:
    """Describe the model that answers."""
    service = service_of(request)
    service.check_model(model)
    return _model(service)


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.model,
        "object": "model",
        "created": service.created,
        "owned_by": "pad-langchain",
        "max_model_len": service.chat.engine.context,
    }
