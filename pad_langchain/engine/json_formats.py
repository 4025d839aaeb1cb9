"""Regular expressions for JSON strings by their `format`, each with a natural length.

Each matches a subset of its format: what it matches is valid for strict validators, Python's own types and pydantic.
The names of the formats are JSON Schema's and pydantic's. A format that is not here constrains nothing.
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase, digits

__all__ = ["FORMATS", "NUMBER", "decimal", "known_pattern"]

NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?"

_BYTE_SIZE = r"^\s*(\d*\.?\d+)\s*(\w+)?"  # pydantic's; without an end, anything could follow


def _any(*parts: str) -> str:
    return f"(?:{'|'.join(parts)})"


# ---- dates that exist: no 30 February, a 29th in leap years only, no year 0

_YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_FOURTH = r"(?:0[48]|[2468][048]|[13579][26])"
_DATE = _any(
    rf"{_YEAR}-(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
    rf"{_YEAR}-(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)",
    rf"{_YEAR}-02-(?:0[1-9]|1[0-9]|2[0-8])",
    rf"(?:[0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29",
)
_HOUR = r"(?:[01][0-9]|2[0-3])"
_CLOCK = rf"{_HOUR}:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?"
_ZONE = rf"(?:Z|[+-]{_HOUR}:[0-5][0-9])"

# RFC 3339, appendix A: each unit is followed by the next smaller one. `timedelta` holds the largest.
_SECONDS = r"[0-9]{1,6}S"
_MINUTES = rf"[0-9]{{1,6}}M(?:{_SECONDS})?"
_TIME_SPAN = rf"T(?:[0-9]{{1,6}}H(?:{_MINUTES})?|{_MINUTES}|{_SECONDS})"
_DAYS = r"[0-9]{1,6}D"
_MONTHS = rf"[0-9]{{1,4}}M(?:{_DAYS})?"
_DATE_SPAN = rf"(?:[0-9]{{1,4}}Y(?:{_MONTHS})?|{_MONTHS}|{_DAYS})"
_DURATION = rf"P(?:{_DATE_SPAN}(?:{_TIME_SPAN})?|{_TIME_SPAN}|[0-9]{{1,5}}W)"


# ---- addresses

_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_BYTE}\.){{3}}{_BYTE}"
_GROUP = r"[0-9a-fA-F]{1,4}"
_IPV6 = _any(
    rf"(?:{_GROUP}:){{7}}{_GROUP}",
    *(rf"(?:{_GROUP}:){{1,{left}}}(?::{_GROUP}){{1,{7 - left}}}" for left in range(1, 7)),
    rf"(?:{_GROUP}:){{1,7}}:",
    rf":(?::{_GROUP}){{1,7}}",
    "::",
)


def _networks4() -> str:
    """Every IPv4 network: the bits after the prefix are zero."""
    networks = []
    for prefix in range(33):
        whole, bits = divmod(prefix, 8)
        part = [_any(*(str(byte) for byte in range(0, 256, 1 << 8 - bits)))] if bits else []
        networks.append(r"\.".join([*[_BYTE] * whole, *part, *["0"] * (4 - whole - len(part))]) + f"/{prefix}")
    return _any(_IPV4, *networks)


def _networks6() -> str:
    """IPv6 networks whose prefix ends at a hexadecimal digit."""
    networks = [r"::/0"]
    for prefix in range(4, 125, 4):
        whole, digits = divmod(prefix // 4, 4)
        part = f"[0-9a-fA-F]{{{digits}}}{'0' * (4 - digits)}" if digits else ""
        groups = rf"(?:{_GROUP}:){{{whole}}}{part}"
        last = whole == 7 and digits
        networks.append(f"{groups}{'' if last else '::' if digits else ':'}/{prefix}")
    return _any(rf"{_IPV6}(?:/128)?", *networks)


_INTERFACE4 = rf"{_IPV4}(?:/(?:[12]?[0-9]|3[0-2]))?"
_INTERFACE6 = rf"{_IPV6}(?:/(?:[1-9]?[0-9]|1[01][0-9]|12[0-8]))?"

_LABEL = r"(?:xn--)?[a-zA-Z0-9](?:-?[a-zA-Z0-9]){0,30}"
# Where the last label is a number, URLs read an IPv4 address.
_HOST = rf"(?:{_LABEL}\.){{0,6}}(?:xn--)?[a-zA-Z](?:-?[a-zA-Z0-9]){{0,30}}"
_WORD = r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]"
_EMAIL = rf"{_WORD}{{1,40}}(?:\.{_WORD}{{1,20}})?@(?:{_LABEL}\.){{1,4}}(?:xn--[a-z0-9]{{1,20}}|[a-zA-Z]{{2,24}})"


def _url_text(more: str, longest: int) -> str:
    return rf"(?:[a-zA-Z0-9._~!$&'()*+,;=:@{more}-]|%[0-9a-fA-F]{{2}}){{0,{longest}}}"


_LOCATION = rf"(?:{_HOST}|{_IPV4}|\[{_IPV6}\])(?::(?:[1-9][0-9]{{0,3}}|[1-5][0-9]{{4}}|6[0-4][0-9]{{3}}))?"
_LOGIN = r"(?:[a-zA-Z0-9._~-]{1,64}(?::[a-zA-Z0-9._~-]{0,64})?@)?"
# URLs are copied, some with long signatures.
_PLACE = rf"(?:/{_url_text('/', 512)})?(?:\?{_url_text('/?', 1024)})?(?:#{_url_text('/?', 256)})?"
_NO_PLACE = r"(?:mailto|tel|sms|sips?|urn|data|news|geo|did|doi|tag|xmpp|cid|mid|info|ni)"


def _url(hosts: int = 1) -> str:
    more = rf"(?:,{_LOCATION}){{0,{hosts - 1}}}" if hosts > 1 else ""
    forms = [rf"[a-zA-Z][a-zA-Z0-9+.-]{{1,31}}://{_LOGIN}{_LOCATION}{more}{_PLACE}", rf"file:///{_url_text('/', 512)}"]
    return _any(*forms, rf"{_NO_PLACE}:[a-zA-Z0-9+]{_url_text('/?', 512)}")


# ---- numbers, identifiers, bytes, patterns


def decimal(max_digits: int | None = None, places: int | None = None) -> str:
    """Return a pattern for decimal numbers.

    Args:
        max_digits: digits at most. None means 15 before the point.
        places: digits after the point at most. None means 15, or what `max_digits` leaves.
    """
    if max_digits is None:
        return rf"-?[0-9]{{1,15}}{_fraction(15 if places is None else places)}"
    if places is not None:
        before, after = max(0, max_digits - places), min(places, max_digits)
        # Where all digits are decimals, pydantic counts a 0 without them as one too many.
        return rf"-?[0-9]{{1,{before}}}{_fraction(after)}" if before else rf"-?0\.[0-9]{{1,{after}}}"
    forms = [rf"[0-9]{{{before}}}{_fraction(max_digits - before)}" for before in range(1, max_digits + 1)]
    return rf"-?{_any(f'0{_fraction(max_digits)}', *forms)}"


def _fraction(places: int) -> str:
    return rf"(?:\.[0-9]{{1,{places}}})?" if places else ""


def known_pattern(pattern: str) -> str | None:
    """Return a finite form, without look-ahead, of one of pydantic's own patterns.

    Until 2.13 pydantic writes a `Decimal` with look-ahead, and a `ByteSize` without an end.

    Returns:
        None where the pattern is another one.
    """
    if pattern == _BYTE_SIZE:
        return r"^[0-9]{1,12}(?:\.[0-9]{1,3})?(?: ?(?:[KMGTP]i?)?B)?$"
    if not pattern.startswith(_DECIMAL):
        return None
    rest = pattern.removeprefix(_DECIMAL)
    for form in _DECIMAL_FORMS:
        if found := re.fullmatch(form, rest):
            limits = {name: int(digits) for name, digits in found.groupdict().items()}
            if "before" in limits and "places" in limits:
                return f"^{decimal(int(found['most']) - 1, limits['places'])}$"
            return f"^{decimal(limits['most'] - 1 if 'most' in limits else None, limits.get('places'))}$"
    return None


# "no empty text, and no lone signs and points"; then digits in one of four forms
_DECIMAL = r"^(?!^[-+.]*$)[+-]?0*"
_AHEAD = r"\(\?=\[\\d\.\]\{1,(?P<most>\d+)\}0\*\$\)"
_DECIMAL_FORMS = (
    r"\\d\*\\\.\?\\d\*\$",
    r"\\d\*\\\.\?\\d\{0,(?P<places>\d+)\}0\*\$",
    rf"\(\?:\\d\{{0,\d+\}}\|{_AHEAD}\\d\*\\\.\\d\*0\*\$\)",
    rf"\(\?:\\d\{{0,(?P<before>\d+)\}}\|{_AHEAD}\\d\{{0,\d+\}}\\\.\\d\{{0,(?P<places>\d+)\}}0\*\$\)",
)

_HEX = "[0-9a-fA-F]"


def _uuid(version: str = _HEX, variant: str = _HEX) -> str:
    return rf"{_HEX}{{8}}-{_HEX}{{4}}-{version}{_HEX}{{3}}-{variant}{_HEX}{{3}}-{_HEX}{{12}}"


def _base64(letters: str, longest: int = 256) -> str:
    return rf"(?:{letters}{{4}}){{0,{longest}}}(?:{letters}[AQgw]==|{letters}{{2}}[AEIMQUYcgkosw048]=)?"


def _up_to(last: str) -> str:
    return next(row[: row.index(last)] for row in (ascii_lowercase, ascii_uppercase, digits) if last in row)


def _regex(depth: int = 2) -> str:
    """Patterns that `re.compile` takes, with groups nested up to `depth`, without look-around and references."""
    repeat = r"(?:[*+?]\??|\{[0-9]{1,2},?\}|\{[01],[1-9][0-9]?\})?"
    letter = r"[a-zA-Z0-9_ ,:;@#%&=<>!\"'/~-]"
    escape = r"\\[dDwWsS.*+?()\[\]{}|^$/\\-]"
    ranges = "|".join(f"{first}-[{first}-{last}]" for last in "zZ9" for first in _up_to(last))
    one_of = rf"\[\^?(?:{ranges}|\\[dws.\]\[-]|[a-zA-Z0-9_ .,:;@/+*?!#%=$]){{1,32}}\]"
    part = _any(rf"(?:{one_of}|{letter}|{escape}|\.){repeat}", r"\\b")
    inner = part
    for _ in range(depth):
        inner = _any(part, rf"\((?:\?:)?(?:{inner}){{1,32}}(?:\|(?:{inner}){{1,32}}){{0,15}}\){repeat}")
    return rf"\^?(?:{inner}){{1,64}}(?:\|(?:{inner}){{1,64}}){{0,15}}\$?"


FORMATS: dict[str, str] = {
    "date": _DATE,
    "date-time": f"{_DATE}T{_CLOCK}{_ZONE}",
    "date-time-local": f"{_DATE}T{_CLOCK}",
    "time": f"{_CLOCK}{_ZONE}",
    "time-local": _CLOCK,
    "duration": _DURATION,
    "uuid": _uuid(),
    **{f"uuid{version}": _uuid(str(version), "[89abAB]") for version in range(1, 9)},
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "ipvanyaddress": _any(_IPV4, _IPV6),
    "ipv4network": _networks4(),
    "ipv6network": _networks6(),
    "ipvanynetwork": _any(_networks4(), _networks6()),
    "ipv4interface": _INTERFACE4,
    "ipv6interface": _INTERFACE6,
    "ipvanyinterface": _any(_INTERFACE4, _INTERFACE6),
    "hostname": _HOST,
    "email": _EMAIL,
    "name-email": _EMAIL,
    "uri": _url(),
    "multi-host-uri": _url(hosts=4),
    "base64": _base64("[A-Za-z0-9+/]"),
    "base64url": _base64("[A-Za-z0-9_-]"),
    "regex": _regex(),
    "fraction": "-?[0-9]{1,15}(?:/[1-9][0-9]{0,14})?",
}
