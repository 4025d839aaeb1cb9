"""One turn for one user, for every face: no LangChain, no LlamaIndex, no HTTP.

Chat.submit(messages, CallOptions) → Turn → Delta …
"""

from pad_langchain.chat.chat import Chat
from pad_langchain.chat.options import CallOptions, ChatSettings
from pad_langchain.chat.turn import Delta, Turn, Usage

__all__ = ["CallOptions", "Chat", "ChatSettings", "Delta", "Turn", "Usage"]
