"""The server as an application of Ray Serve: several replicas, on one machine or many. Needs the extra [ray].

1  `RayDeployment` is what a deploy.yaml says
2  `RayDeployment.serve_config` makes Ray's own configuration of it, which `serve run` and `serve deploy` take
3  Ray calls `application` with its `args`; each replica makes its app and loads its models

Ray checks each replica, replaces those that failed, and starts more while many requests are under way. The queue and
its 429 stay ours: Ray's own refusal has no Retry-After.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Self

from fastapi import FastAPI
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pad_langchain.engine.settings import EngineSettings
from pad_langchain.errors import InvalidRequestError, MissingDependencyError
from pad_langchain.server.app import build_app
from pad_langchain.server.settings import ServerSettings
from pad_langchain.training.settings import STRICT, Count, Flag, Number, Positive, checked, load_yaml

__all__ = ["Autoscaling", "RayDeployment", "application"]

NAME = "PadServer"  # of the deployment within the application
_HASHED = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
_SLACK = 16  # requests that are refused by us, and not held back by Ray


@checked
@dataclass(frozen=True, config=STRICT)
class Autoscaling:
    """How many replicas there are.

    Args:
        least: replicas that are always there.
        most: replicas at most.
        ongoing: requests under way for each replica, above which more start. Half of `max_batch` leaves room.
    """

    least: Count = 1
    most: Count = 1
    ongoing: Positive = 16.0

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"replicas.least is {self.least}, and has to be at most replicas.most, {self.most}.")
        return self


@checked
@dataclass(frozen=True, config=STRICT)
class RayDeployment:
    """What a deploy.yaml says.

    Args:
        server: settings of `ServerSettings`, the same for each replica. `host` and `port` are those of Ray's proxy. The
            secret of signed tokens is not told here, for Ray shows the file to whoever reads its state: set
            `PAD_SERVER_JWT_SECRET` where Ray starts.
        replicas: how many there are.
        cpus: cores of one replica, which are also its threads.
        gpus: graphics cards of one replica; a part is allowed.
        by_user: whether a user's requests go to the same replica, which has read the beginning of their prompt.
        health_check_s: seconds between two checks of a replica.
        environment: environment variables of the replicas.
    """

    server: dict[str, Any]
    replicas: Autoscaling = field(default_factory=Autoscaling)
    cpus: Positive = 1.0
    gpus: Annotated[Number, Field(ge=0)] = 0.0
    by_user: Flag = True
    health_check_s: Positive = 5.0
    environment: dict[str, str] = field(default_factory=dict)

    @model_validator(mode="after")
    def _check_server(self) -> Self:
        if "jwt_secret" in self.server:
            raise ValueError("jwt_secret would be readable in Ray's state. Set PAD_SERVER_JWT_SECRET where Ray starts.")
        settings = self.settings
        if self.replicas.most > 1 and settings.memory is not None and not settings.memory.startswith("http"):
            raise ValueError(
                f"server.memory is the folder {settings.memory!r}, which one process opens, but there may be "
                f"{self.replicas.most} replicas. Name a Chroma server, or replicas: {{most: 1}}."
            )
        return self

    @classmethod
    def load(cls, path: str | Path) -> RayDeployment:
        """Read a deploy.yaml.

        Raises:
            InvalidRequestError: it cannot be read, or a setting is missing, unknown or not allowed.
        """
        told = load_yaml(path)
        if "server" not in told:
            raise InvalidRequestError(f"{str(path)!r} has no `server:`, the settings of pad-langchain serve.")
        return cls(**told)

    @property
    def settings(self) -> ServerSettings:
        """The server's settings, those of this process's environment included."""
        return ServerSettings.load(self.server, os.environ)

    @property
    def session_header(self) -> str:
        """The header by which Ray's proxy tells users apart: what `RAY_SERVE_SESSION_ID_HEADER_KEY` has to say."""
        return self.settings.user_header.lower()

    def serve_config(self) -> dict[str, Any]:
        """Ray Serve's configuration of this deployment, as its YAML files have it."""
        settings = self.settings
        engine = settings.engine_settings
        room = sum(int(engine.get(name, getattr(EngineSettings, name))) for name in ("max_batch", "max_queue"))
        deployment = {
            "name": NAME,
            "max_ongoing_requests": room + _SLACK,
            "max_queued_requests": -1,
            "autoscaling_config": {
                "min_replicas": self.replicas.least,
                "max_replicas": self.replicas.most,
                "target_ongoing_requests": self.replicas.ongoing,
            },
            "graceful_shutdown_timeout_s": settings.shutdown_grace_s,
            "health_check_period_s": self.health_check_s,
            "ray_actor_options": {
                "num_cpus": self.cpus,
                "num_gpus": self.gpus,
                "runtime_env": {"env_vars": self.environment},
            },
        }
        if self.by_user:
            deployment["request_router_config"] = {"request_router_class": _HASHED}
        return {
            "proxy_location": "EveryNode",
            "http_options": {"host": settings.host, "port": settings.port},
            "logging_config": {"enable_access_log": False},  # the server has a line for each request, without queries
            "applications": [
                {
                    "name": "pad",
                    "route_prefix": "/",
                    "import_path": f"{__name__}:application",
                    "args": {"server": {name: _plain(getattr(settings, name)) for name in self.server}},
                    "deployments": [deployment],
                }
            ],
        }


def _plain(value: Any) -> Any:
    """A setting as YAML has it."""
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


class _Replica:
    """What Ray makes in a process of its own: the app, and whether it can answer."""

    def __init__(self, server: Mapping[str, Any]) -> None:
        self._server, self._made = server, FastAPI()

    def __serve_build_asgi_app__(self) -> FastAPI:
        self._made = build_app(ServerSettings.load(self._server, os.environ))
        return self._made

    async def check_health(self) -> None:
        """Raise where the engine has stopped; Ray then starts another replica."""
        service = self._made.state.service
        if service is not None and not service.chat.engine.alive:
            raise RuntimeError("The engine has stopped.")


def application(args: Mapping[str, Any]) -> Any:
    """What Ray Serve imports and calls with an application's `args`: {"server": settings of `ServerSettings`}.

    Returns:
        Ray's application, whose replicas load their models when they start.

    Raises:
        MissingDependencyError: Ray Serve is not installed.
        InvalidRequestError: a setting is not allowed.
    """
    try:
        from ray import serve
    except ImportError:
        raise MissingDependencyError('Ray Serve is not installed: pip install "pad-langchain[ray]"') from None
    ServerSettings.load(args["server"], os.environ)
    return serve.deployment(serve.ingress()(_Replica), name=NAME).bind(args["server"])
