"""Our names into an upstream's bytes: public model id and ``request_id``, without re-encoding every event.

The members before ``"choices":`` are the same in every chunk of a stream. They are rewritten once; an event that starts
with the same bytes keeps all its other bytes. Whatever is not of that shape is rebuilt member by member, each value the
bytes it came in. Withheld on the way: an upstream's own ``request_id``, ``"error": null`` (it costs users of the
Vercel AI SDK all text) and ``usage``, which is sent once, alone, and only if asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from streamrouter.wire.halves import mask, unmask

_members = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_CHOICES = b'"choices":'
_OURS = {"model", "request_id", "error"}
_NULL_USAGE = b',"usage":null}'


def members_of(payload: bytes) -> dict[str, Raw]:
    """The top-level members of a JSON object, each value as its bytes."""
    return _members.decode(payload)


def _without_usage(payload: bytes) -> bytes:
    return payload[: -len(_NULL_USAGE)] + b"}" if payload.endswith(_NULL_USAGE) else payload


class Splicer:
    """Rewrites one stream's events. ``model`` is the public id; ``request_id`` goes into the first event.

    ``attach`` False: into none, on a surface that has it elsewhere.
    """

    def __init__(self, model: str, request_id: str, created: int = 0, *, attach: bool = True) -> None:
        self._model = Raw(_encode(model))
        self._request_id = Raw(_encode(request_id))
        self._created = Raw(b"%d" % created)
        self._first = True
        self._attach = attach
        self._seen = b""  # the upstream's head that is known
        self._head = b""  # what is sent for it, "data: " included
        self.identity: dict[str, Raw] = {}  # id and created of the stream, for chunks of our own

    def event(self, payload: bytes, *, drop_usage: bool, null_error: bool = False) -> bytes:
        """The framed event for ``payload``. ``drop_usage``: it holds a usage object that is withheld or sent apart.

        ``null_error``: it holds an ``"error": null``, which may stand where no event before had one.
        """
        if not (drop_usage or null_error) and (framed := self.known(payload)) is not None:
            return framed
        try:
            return self._rebuild(_without_usage(payload), drop_usage)
        except msgspec.DecodeError:
            masked = mask(payload)
            if masked is None:
                raise
            return unmask(self._rebuild(_without_usage(masked), drop_usage))

    def known(self, payload: bytes) -> bytes | None:
        """The framed event for a payload that begins with the known head, None for another."""
        seen = self._seen
        if seen and payload.startswith(seen):
            return b"%b%b\n\n" % (self._head, _without_usage(payload)[len(seen) :])
        return None

    def _rebuild(self, payload: bytes, drop_usage: bool) -> bytes:
        members = self._ours(members_of(payload))
        if drop_usage:
            members.pop("usage", None)
        if self._first:
            self._first = False
            self.identity = {name: members[name] for name in ("id", "created", "system_fingerprint") if name in members}
            if self._attach:
                members["request_id"] = self._request_id
        self._learn(payload)
        return b"data: %b\n\n" % _encode(members)

    def _ours(self, members: dict[str, Raw]) -> dict[str, Raw]:
        members["model"] = self._model
        members.pop("request_id", None)
        for name in ("error", "usage"):
            if bytes(members.get(name, b"")) == b"null":
                del members[name]
        return members

    def _learn(self, payload: bytes) -> None:
        """Remember the head of this event if everything that we rewrite stands in it."""
        at = payload.find(_CHOICES)
        if at <= 1:
            return
        seen = payload[:at]
        try:
            head = members_of(seen + b'"choices":0}')
        except msgspec.DecodeError:
            return  # this "choices" is not the top level's
        if "choices" not in head:
            return  # its key only ends so
        del head["choices"]
        if "model" in head and not (_OURS & members_of(b"{" + payload[at:]).keys()):
            self._seen = seen
            self._head = b"data: " + _encode(self._ours(head))[:-1] + b","

    def own(self, choices: bytes, extra: Mapping[str, Raw] | None = None) -> bytes:
        """A chunk of our own, framed, with this stream's identity. ``choices`` is JSON."""
        members: dict[str, Raw] = {
            "id": self.identity.get("id", Raw(b'"chatcmpl-%b"' % bytes(self._request_id)[1:-1])),
            "object": Raw(b'"chat.completion.chunk"'),
            "created": self.identity.get("created", self._created),
            "model": self._model,
            "choices": Raw(choices),
        }
        if self._attach and self._first:
            members["request_id"] = self._request_id
        members.update(extra or {})
        return b"data: %b\n\n" % _encode(members)
