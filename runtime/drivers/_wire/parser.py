"""Reads the heads of HTTP/1.1 answers, and bodies in chunks, with llhttp (httptools).

A body of known length that is not whole yet does not pass through here: see `runtime.drivers._wire.body`.

Source:
    https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from runtime.drivers._wire.errors import BadAnswerError

MOST_HEAD: Final = 64 * 1024
"""Bytes that the head of an answer may have, with the interim answers before it."""

MOST_HEADERS: Final = 256
_NAMES_KEPT: Final = 512
_BODYLESS: Final = frozenset({204, 304})

_names: dict[bytes, str] = {}
"""Header names that were seen, in lower case: looking one up costs a third of decoding it."""


class Parser:
    """The answers of one connection, one after the other.

    Attributes:
        status: HTTP status, of the final answer.
        headers: Headers by lower-case name; values of the same name are joined by a comma.
        headed: Whether the head is complete.
        ended: Whether the answer is complete.
        length: Bytes of the body when the head tells them; None for a body in chunks or up to the connection's end.
        until_closed: Whether the body ends with the connection.
        keep: Whether the connection may be used again.
        body: What of the body has passed through, and was not taken yet.
        touched: Whether a byte of the answer has come.
    """

    __slots__ = (
        "_bodyless",
        "_head_size",
        "_interim",
        "_parser",
        "body",
        "ended",
        "headed",
        "headers",
        "keep",
        "length",
        "status",
        "touched",
        "until_closed",
    )

    def __init__(self) -> None:
        self._parser: HttpResponseParser | None = None
        self.expect(bodyless=False)

    def expect(self, *, bodyless: bool) -> None:
        """Begin with the next answer; *bodyless* when it is one to a HEAD."""
        self.status = self._head_size = 0
        self.headers: dict[str, str] = {}
        self.headed = self.ended = self.until_closed = self.touched = self._interim = False
        self.keep = True
        self.length: int | None = None
        self.body: list[bytes] = []
        self._bodyless = bodyless
        if self._parser is None:
            self._parser = HttpResponseParser(self)

    def feed(self, data: memoryview) -> None:
        """Take what has come.

        Raises:
            BadAnswerError: It is no HTTP answer, or its head is too large.
        """
        if self._parser is None:
            raise BadAnswerError("bytes that belong to no answer")
        self.touched = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            if not self.ended:  # else it is what follows the answer: the connection is not used again
                raise BadAnswerError(f"the server's answer is no HTTP/1.1 ({type(exc).__name__})") from None
            self.keep = False
        if not self.headed:
            self._head_size += len(data)
            if self._head_size > MOST_HEAD:
                raise BadAnswerError(f"the head of the server's answer has more than {MOST_HEAD:,} bytes")
        if not self.ended and self._bodyless and self.headed:
            self.ended = True
        if self.ended and (self._bodyless or not self.keep):
            self._parser = None  # it waits for the body that a HEAD does not have

    def take_over(self) -> None:
        """The rest of the body, of known length, is read without the parser."""
        self._parser = None

    # called by llhttp

    def on_message_begin(self) -> None:
        if self.ended:
            self.keep = False  # an answer that nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.ended:
            return
        known = _names.get(name)
        if known is None:
            known = name.decode("ascii").lower()
            if len(_names) < _NAMES_KEPT:
                _names[name] = known
        text = value.decode("utf-8", "surrogateescape")
        headers = self.headers
        if known in headers:
            text = f"{headers[known]}, {text}"
        elif len(headers) >= MOST_HEADERS:
            raise BadAnswerError(f"more than {MOST_HEADERS} headers")
        headers[known] = text

    def on_headers_complete(self) -> None:
        if self.ended or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # noqa: PLR2004 - RFC 9110: an interim answer, the final one follows
            self._interim = True
            return
        self.status, self.headed, headers = status, True, self.headers
        connection = headers.get("connection", "").lower()
        self.keep = "close" not in connection and (
            self._parser.get_http_version() == "1.1" or "keep-alive" in connection
        )
        if status in _BODYLESS:
            self._bodyless = True
        if self._bodyless:
            self.length = 0
        elif "transfer-encoding" in headers:
            self.until_closed = headers["transfer-encoding"].rpartition(",")[2].strip().lower() != "chunked"
        elif "content-length" in headers:
            self.length = int(headers["content-length"])
        else:
            self.until_closed = True
        self.keep = self.keep and not self.until_closed

    def on_body(self, body: bytes) -> None:
        if self.ended or self._bodyless:
            self.keep = False  # bytes that belong to no answer
        else:
            self.body.append(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            self.headers = {}
        else:
            self.ended = True
