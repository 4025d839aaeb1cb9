"""`ServerSettings`: what a server is told, from flags, the environment, a YAML file and defaults, in this order.

Every setting is an environment variable, too: `PAD_SERVER_` and its name in capitals, such as `PAD_SERVER_PORT`. There
a list is separated by commas, a mapping is YAML, and "none" means None. (A service of Kubernetes that is called
`pad-server` makes such variables of its own: give it another name, or set `enableServiceLinks: false`.)
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, field
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from pad_langchain.chat.condition import parse_preference
from pad_langchain.defaults import NAMES
from pad_langchain.engine.settings import read_urls
from pad_langchain.paths import absolute, data_folder, model_place
from pad_langchain.training.settings import STRICT, ModelName, checked, load_yaml

__all__ = ["PREFIX", "ServerSettings", "default_keys_file", "is_loopback"]

PREFIX = "PAD_SERVER_"
LEAST_SECRET = 32  # bytes; HS256 is no stronger than its key (RFC 7518, 3.2)
_LONGEST = 10 * 365 * 86_400  # seconds
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def default_keys_file() -> Path:
    """Return the file of the keys of a server that was named none."""
    return data_folder() / "server-keys.json"


def _unset(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"a number is asked for, but it is {value!r}.")
    return value


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _wishes(value: Any) -> Any:
    return tuple((one.text, one.weight) for one in parse_preference(_listed(value), "defaults"))


def _mapped(value: Any) -> Any:
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        raise ValueError(f"a mapping in YAML is asked for, but it is {value!r}.") from None


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://[^/*\s]+", value):
        raise ValueError(f"an origin is http:// or https://, a host and maybe a port, but it is {value!r}.")
    return value


def _host_pattern(value: str) -> str:
    if value != "*" and not re.fullmatch(r"(\*\.)?[^*/\s]+", value):
        raise ValueError(f"a host is a name without a port, '*.' and a name, or '*', but it is {value!r}.")
    return value.lower()


def _header(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ValueError(f"the name of a header has letters, digits and '-', but it is {value!r}.")
    return value


def _secret(value: Any) -> Any:
    """Refuse without showing it."""
    if value is not None and (not isinstance(value, str) or len(value.encode()) < LEAST_SECRET):
        raise ValueError(f"a text of {LEAST_SECRET} bytes or more is asked for: openssl rand -hex 32 makes one.")
    return value


def _memory(value: str) -> str:
    return value if value.startswith(("http://", "https://")) else str(absolute(value))


Whole = Annotated[int, BeforeValidator(_no_flag), Field(ge=1)]
Natural = Annotated[int, BeforeValidator(_no_flag), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(_no_flag), Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(_no_flag), Field(ge=0, allow_inf_nan=False)]
Header = Annotated[str, AfterValidator(_header)]
Text = Annotated[str, Field(min_length=1)]
Unset = BeforeValidator(_unset)


@checked
@dataclass(frozen=True, config=STRICT)
class ServerSettings:
    """What a server is told.

    Args:
        model: GGUF file, folder, hub id or name of the base model, as `ChatPAD` takes it.
        reward_model: a PersRM, "self", "auto", or None, as `ChatPAD` takes it.
        engine_url: address of a vLLM server that runs the model in the place of this process, or of several.
        scorer: name of a model whose PersRM, loaded here, judges what feedback says of answers, as `ChatPAD` takes a
            model. None: that of the model that answers; where it is on a server, feedback waits for a scorer.
        engine_settings: keywords of the engine: `max_batch`, `max_queue`, `device`, `threads`, `context_length`, …
        memory: folder of the preference memory, or http:// address of a Chroma server. None: nothing is kept.
        answer_retention_s: seconds for which answers are kept in the memory, so that feedback may name them by id after
            a restart and at every server that shares the memory. None: this process alone knows them, for a day.
        defaults: wishes for all users, texts and (text, weight) pairs; see `ChatSettings`.
        selective: whether users' wishes about how to talk to them are held back from texts for others.
        keys: file of the keys, which `pad-langchain keys` writes. None, on this machine only, is one in the user's data
            folder.
        host: address to listen on. One that others reach needs `keys`.
        port: port to listen on; 0 takes a free one.
        max_body_bytes: longest body of a request; larger ones are refused before they are read. A megabyte takes more
            than a second to tokenize, so allow what the model's context can hold.
        body_timeout_s: seconds in which a body has to arrive.
        rate: requests per minute of one key. None: as many as there are.
        burst: requests of one key that may come at once before `rate` holds them back.
        max_schema_bytes: longest JSON schema of an answer or a tool.
        max_schema_depth: how deep such a schema may nest.
        max_enum: values of one enum in it.
        max_tools: tools of one request.
        max_stops: stop strings of one request.
        max_best_of: answers made of which the best is returned.
        max_top_logprobs: candidates reported for one token.
        user_header: header by which an app says who its user is.
        jwt_header: header in which an app says it in a signed token (HS256, with `sub`, `iss` and `exp`).
        jwt_secret: what such tokens are signed with, 32 bytes or more. None: tokens are refused.
        jwt_issuer: what `iss` has to be; needed with `jwt_secret`.
        thread_header: header that names the conversation. None: only the body names it.
        task_header: header that marks work the user did not ask for, such as titles: a request with it is neither
            steered nor kept. None: there is none.
        chat_template_switches: switches (booleans) of the chat template that a request may set.
        allowed_origins: origins of web pages that may call from a browser (CORS), such as "https://chat.example.com".
        trusted_hosts: names under which the server is called; "*.example.com" is every one below it. None: those of
            this machine where only it can call, else every one.
        shutdown_grace_s: seconds that running answers get to end. Longer than the longest answer.
        drain_s: seconds between /ready saying 503 and the end of new connections, for a balancer to notice.
    """

    model: ModelName
    _: KW_ONLY
    reward_model: Annotated[str | None, Unset] = "auto"
    engine_url: Annotated[
        Annotated[tuple[str, ...], AfterValidator(read_urls)] | None, BeforeValidator(_listed), Unset
    ] = None
    scorer: Annotated[Annotated[Text, AfterValidator(lambda name: model_place(name, *NAMES))] | None, Unset] = None
    engine_settings: Annotated[dict[str, Any], BeforeValidator(_mapped)] = field(default_factory=dict)
    memory: Annotated[Annotated[Text, AfterValidator(_memory)] | None, Unset] = None
    answer_retention_s: Annotated[Annotated[Positive, Field(le=_LONGEST)] | None, Unset] = None
    defaults: Annotated[tuple[tuple[str, float], ...], BeforeValidator(_wishes)] = ()
    selective: bool = True
    keys: Annotated[Annotated[Text, AfterValidator(lambda path: str(absolute(path)))] | None, Unset] = None
    host: Text = "127.0.0.1"
    port: Annotated[Natural, Field(le=65_535)] = 8700
    max_body_bytes: Whole = 262_144
    body_timeout_s: Positive = 20.0
    rate: Annotated[Positive | None, Unset] = None
    burst: Whole = 10
    max_schema_bytes: Whole = 65_536
    max_schema_depth: Whole = 32
    max_enum: Whole = 1_000
    max_tools: Natural = 128
    max_stops: Natural = 4
    max_best_of: Whole = 4
    max_top_logprobs: Natural = 20
    user_header: Header = "X-PAD-User"
    jwt_header: Header = "X-OpenWebUI-User-Jwt"
    jwt_secret: Annotated[str | None, BeforeValidator(_secret), Unset] = field(default=None, repr=False)
    jwt_issuer: Annotated[Text | None, Unset] = None
    thread_header: Annotated[Header | None, Unset] = None
    task_header: Annotated[Header | None, Unset] = None
    chat_template_switches: Annotated[tuple[Text, ...], BeforeValidator(_listed)] = ()
    allowed_origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_listed)] = ()
    trusted_hosts: Annotated[
        tuple[Annotated[str, AfterValidator(_host_pattern)], ...] | None, BeforeValidator(_listed), Unset
    ] = None
    shutdown_grace_s: Seconds = 60.0
    drain_s: Seconds = 0.0

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        wrong = []
        if not is_loopback(self.host) and self.keys is None:
            wrong.append(
                f"host is {self.host!r}, which others reach, but there are no keys. Make one with "
                "pad-langchain keys create --keys FILE and name the file, or listen on 127.0.0.1."
            )
        if (self.jwt_secret is None) != (self.jwt_issuer is None):
            wrong.append("jwt_secret and jwt_issuer need each other: name both or neither.")
        if self.scorer is not None and self.memory is None:
            wrong.append("scorer judges for the memory, but there is none: name a memory, or leave it out.")
        if self.answer_retention_s is not None and self.memory is None:
            wrong.append(
                "answer_retention_s keeps answers in the memory, but there is none: name a memory, or leave it out."
            )
        if wrong:
            raise ValueError(" ".join(wrong))
        return self

    @property
    def keys_file(self) -> Path:
        """The file of the keys: `keys`, else the one in the user's data folder."""
        return default_keys_file() if self.keys is None else Path(self.keys)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names under which the server is called; "*" is every one."""
        if self.trusted_hosts is not None:
            return self.trusted_hosts
        return (*_LOCAL_HOSTS, self.host.lower()) if is_loopback(self.host) else ("*",)

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        config: str | Path | None = None,
        defaults: Mapping[str, Callable[[], Any]] | None = None,
    ) -> ServerSettings:
        """Make settings of all that names them.

        Args:
            flags: of a command; those that are None were not given.
            environment: such as `os.environ`; variables that begin with `PAD_SERVER_` and are not empty count.
            config: YAML file. None is the one that `PAD_SERVER_CONFIG` names, or none.
            defaults: instead of the class's own; each is called only where nothing else says the setting.

        Raises:
            InvalidRequestError: settings are missing, unknown or not allowed; the message has all of them.
        """
        given = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
        config = config or given.pop("CONFIG", None)
        given.pop("CONFIG", None)
        said = {name: value for name, value in flags.items() if value is not None}
        from_environment = {name.lower(): value for name, value in given.items() if value}
        from_file = load_yaml(config) if config else {}
        together = {**from_file, **from_environment, **said}
        unsaid = {name: default() for name, default in (defaults or {}).items() if name not in together}
        return cls(**{**unsaid, **together})
