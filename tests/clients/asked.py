"""What all clients ask."""

from __future__ import annotations

from typing import Any

QUESTION = "What is a lion?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
CITIES = ("Rome", "Oslo")
CITY: Any = {
    "title": "City",
    "type": "object",
    "properties": {"city": {"type": "string", "enum": list(CITIES)}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: Any = {"name": "weather", "description": "The weather of a city.", "parameters": CITY}
TOOL: Any = {"type": "function", "function": FUNCTION}
SCHEMA_FORM: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
# An answer that goes on for as long as it may.
LONG: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array", "minItems": 300}}}
MANY = 10  # at once; the server has room for 4
SHORT = 6  # tokens, where the answer does not matter
OFTEN = 30  # tries of a client that is told to come again
