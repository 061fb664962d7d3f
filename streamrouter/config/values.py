"""The kinds of values that a configuration holds: their ranges and forms, and what a fault says was expected."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

# What SQLite, JSON and a browser all hold exactly; a longer number is a typing error, not a limit.
_LARGEST = 2**53 - 1
_LONGEST_S = 86_400.0  # a day: a deadline beyond it is a typing error too

Positive = Annotated[int, Meta(ge=1, le=_LARGEST)]
Natural = Annotated[int, Meta(ge=0, le=_LARGEST)]
Seconds = Annotated[float, Meta(gt=0, le=_LONGEST_S)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=_LONGEST_S)]
# A ``description`` is what a fault in the configuration says was expected (config/check.py).
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        description='a name of letters, digits, ".", "_" and "-" (at most 64)',
    ),
]
ModelId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\Z",
        description='a model id of letters, digits and "._:/@+-" (at most 200)',
    ),
]
Usd = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?\Z", description='USD as a decimal string such as "10.50"'),
]
UsdPerMillion = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?\Z",
        description='USD per million tokens as a decimal string such as "0.15"',
    ),
]
Percent = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,2}(\.[0-9]{1,4})?\Z", description='percent as a decimal string such as "5" or "2.5"'),
]
BasePath = Annotated[
    str,
    Meta(pattern=r"^(/[A-Za-z0-9._-]+)+\Z", description='a path such as "/v1", without a slash at its end'),
]
KeyPrefix = Annotated[
    str,
    Meta(
        pattern=r"^[a-z]+[a-z0-9_-]{0,20}\Z",
        description='a prefix of small letters, digits, "_" and "-" such as "sk-"',
    ),
]
HostName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9.-]{1,253}\Z", description='a host name such as "api.example.com", without a port'),
]
Origin = Annotated[
    str,
    Meta(pattern=r"^(\*|https?://[^/\s]+)\Z", description='"*" or an origin such as "https://app.example.com"'),
]
FieldName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z", description='a field name of letters, digits and "_" (at most 64)'),
]
FieldType = Annotated[
    str,
    Meta(
        pattern=r"^(any|((string|integer|number|boolean|array|object)( or (?!$)|$))+)\Z",
        description='JSON types such as "integer", "string or array" or "any"',
    ),
]
CancelPath = Annotated[
    str,
    Meta(
        pattern=r"^/[A-Za-z0-9._~/-]*\{id\}[A-Za-z0-9._~/-]*\Z",
        description='a path below base_url with {id} in it, such as "/predictions/{id}/cancel"',
    ),
]
HeaderName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z", description='the name of a header, such as "x-prediction-id"')
]
Network = Annotated[
    str,
    Meta(pattern=r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?\Z", description='an address or a network such as "10.0.0.0/8"'),
]
Word = Annotated[str, Meta(pattern=r"^\S{1,64}\Z", description="a word without spaces (at most 64 characters)")]
Bound = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
ErrorStatus = Annotated[int, Meta(ge=400, le=599)]
Role = Literal["developer", "system", "user", "assistant", "tool", "function"]
