"""Names of settings: one that nobody reads is refused, and the nearest that there is is named."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, model_validator

from pad_langchain.errors import InvalidRequestError

__all__ = ["KnownNames", "hint"]

# What other local models call a thing, where the letters do not lead to our name for it.
_ELSEWHERE = {
    "format": "with_structured_output(schema), or response_format in a call",
    "num_predict": "max_tokens",
    "enable_thinking": "chat_template_kwargs={'enable_thinking': …}",
    "reasoning": "chat_template_kwargs={'enable_thinking': …}",
    "stop_sequences": "stop",
    "base_model": "model",
    "model_path": "model",
    **dict.fromkeys(("n_ctx", "num_ctx"), "engine_settings={'context_length': …}"),
    **dict.fromkeys(("n_threads", "num_thread"), "engine_settings={'threads': …}"),
    **dict.fromkeys(("n_gpu_layers", "num_gpu"), "engine_settings={'gpu_layers': …}"),
}
# What LangChain and LlamaIndex write beside the fields when they dump an object.
_DUMPED = frozenset({"_type", "class_name"})


def hint(name: str, known: Iterable[str]) -> str:
    """What may have been meant by an unknown name, as a sentence with a blank in front; "" where nothing is near.

    >>> hint("temprature", ["seed", "temperature"])
    " Did you mean 'temperature'?"
    """
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    if name in _ELSEWHERE:
        return f" Here it is {_ELSEWHERE[name]}."
    return f" Did you mean {near[0]!r}?" if near else ""


class KnownNames(BaseModel):
    """A pydantic model that refuses names it has no field for, also where it is one of several bases.

    Fields of subclasses, aliases, and what other bases call theirs are known. `extra="forbid"` would refuse some of
    them; a subclass with `extra="allow"` takes whatever it is given.
    """

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or cls.model_config.get("extra") == "allow":
            return values
        known = _names(cls)
        for name in values:
            # LangChain's `configurable_fields` passes on all that an object holds, what it has computed included.
            computed = str(name).startswith("_") and hasattr(cls, name)
            if name in known or name in _DUMPED or computed:
                continue
            near = hint(str(name), known) or f" There are {sorted(known)}."
            raise InvalidRequestError(f"{cls.__name__} has no setting {name!r}.{near}")
        return values


def _names(model: type[BaseModel]) -> set[str]:
    known: set[str] = set()
    for name, field in model.model_fields.items():
        aliases = field.validation_alias
        every = aliases.choices if isinstance(aliases, AliasChoices) else [aliases]
        first = (each.path[0] if isinstance(each, AliasPath) else each for each in every)
        known |= {name, *(each for each in (*first, field.alias) if isinstance(each, str))}
    return known
