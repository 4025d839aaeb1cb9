"""`pad-langchain deploy`: the server on many machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pad_langchain.cli.options import one_line_errors
from pad_langchain.errors import InvalidRequestError
from pad_langchain.paths import replacing

__all__ = ["deploy_app"]

deploy_app = typer.Typer(help="The server as replicas on many machines.", no_args_is_help=True)

MADE = "# Made by pad-langchain deploy ray; change deploy.yaml instead.\n"


@deploy_app.callback()
def deploy() -> None:
    """Group the ways to deploy, though there is one."""


@deploy_app.command()
def ray(
    config: Annotated[Path, typer.Option(help="YAML file: `server`, `replicas`, `cpus`, `gpus`, …")],
    output: Annotated[Path, typer.Option(help="Ray Serve's own configuration, which is written.")] = Path("serve.yaml"),
    run: Annotated[bool, typer.Option(help="Run it on this machine's Ray; Ctrl-C ends it.")] = False,
) -> None:
    """Write an application of Ray Serve, and run it if asked to."""
    with one_line_errors():
        import yaml

        from pad_langchain.server.ray import RayDeployment

        deployment = RayDeployment.load(config)
        if output.exists() and not output.read_text(encoding="utf-8").startswith(MADE):
            raise InvalidRequestError(f"{str(output)!r} was not made by this command; name another --output.")
        with replacing(output) as file:
            file.write_text(MADE + yaml.safe_dump(deployment.serve_config(), sort_keys=False), encoding="utf-8")
        environment = {
            "RAY_SERVE_SESSION_ID_HEADER_KEY": deployment.session_header,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        told = " ".join(f"{name}={value}" for name, value in environment.items())
        typer.echo(f"{output} is written. Start Ray with these variables on each machine: {told}")
        if not run:
            typer.echo(f"Then: serve deploy {output}")
            return
        command = Path(sys.executable).with_name("serve")
        if not command.exists():
            raise InvalidRequestError('Ray Serve is not installed: pip install "pad-langchain[ray]"')
        os.execve(command, [str(command), "run", str(output)], {**os.environ, **environment})
