"""How a head for any base is made without data: the base answers prompts, and learns from its own answers."""

from pad_langchain.adapt.prompts import Prompt, Split, read_prompts, split

__all__ = ["Prompt", "Split", "read_prompts", "split"]
