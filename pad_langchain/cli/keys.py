"""`pad-langchain keys`: who may call a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pad_langchain.cli.options import one_line_errors
from pad_langchain.cli.show import printable

__all__ = ["keys_app"]

keys_app = typer.Typer(help="The keys of a server: who may call it, and as whom.", no_args_is_help=True)

KeysPath = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="PAD_SERVER_KEYS",
        help="File of the keys. [default: pad-langchain/server-keys.json in the user's data folder]",
        show_default=False,
    ),
]


@keys_app.command()
def create(
    role: Annotated[
        str,
        typer.Option(help="user: chats as one user. app: chats as any user, whom it names. admin: administrates."),
    ] = "user",
    user: Annotated[str | None, typer.Option(help="Whose key it is, for the role user.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose users it reaches; those of other tenants never.")] = "default",
    keys: KeysPath = None,
) -> None:
    """Make a key and print it. It is shown this once: the file has a hash of it."""
    with one_line_errors():
        from pad_langchain.server.keys import Keys
        from pad_langchain.server.settings import default_keys_file

        made = Keys.open(keys or default_keys_file()).create(
            role,  # type: ignore[arg-type]  # another word is refused
            tenant=tenant,
            user=user,
        )
        typer.echo(made[1])
        typer.echo(f"It is {made[0]}, and is shown this once. pad-langchain keys revoke {made[0]} ends it.", err=True)


@keys_app.command("list")
def list_keys(keys: KeysPath = None) -> None:
    """List the keys: id, last characters, role, tenant, user, when it was made, and whether it was revoked."""
    with one_line_errors():
        from pad_langchain.server.keys import Keys
        from pad_langchain.server.settings import default_keys_file

        for key in Keys.open(keys or default_keys_file()).list():
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.created))
            line = f"{key.id}  …{key.last4}  {key.role:<5}  {key.tenant}  {key.user or '-'}  {made}"
            typer.echo(printable(f"{line}  revoked" if key.revoked else line))


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, as keys list shows it.", metavar="ID")], keys: KeysPath = None
) -> None:
    """End a key. A server that runs refuses it from now on."""
    with one_line_errors():
        from pad_langchain.server.keys import Keys
        from pad_langchain.server.settings import default_keys_file

        Keys.open(keys or default_keys_file()).revoke(key_id)
        typer.echo(f"{key_id} was revoked")
