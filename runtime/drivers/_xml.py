"""XML of services, by libxml2. It is loaded with the first document: reading and writing objects needs none."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class MalformedError(ValueError):
    """A document can not be parsed."""


def escape(text: str) -> str:
    """*text* as the content of an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def parse(body: bytes) -> Any:
    """The root element of a document.

    Raises:
        MalformedError: It is none.
    """
    etree, strict, _ = _parsers()
    try:
        return etree.fromstring(body, strict)
    except etree.XMLSyntaxError as exc:
        raise MalformedError(exc.msg) from exc


def parse_what_there_is(body: bytes) -> Any:
    """The root element of a document that may be broken off; None when there is none."""
    etree, _, forgiving = _parsers()
    return etree.fromstring(body, forgiving)


def local_name(element: Any) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def namespace(element: Any) -> str:
    """The namespace of an element; empty when it has none."""
    return str(element.tag).partition("}")[0].removeprefix("{") if "}" in str(element.tag) else ""


def texts(path: str, ns: str) -> Callable[[Any], list[str]]:
    """A compiled expression that gives the text of every such element, as plain strings.

    Args:
        path: Names from below the root, separated by slashes.
        ns: Namespace of all of them; empty for none.
    """
    etree = _parsers()[0]
    names = "/".join(f"s:{name}" if ns else name for name in path.split("/"))
    found: Callable[[Any], list[str]] = etree.XPath(
        f"{names}/text()", namespaces={"s": ns} if ns else None, smart_strings=False
    )
    return found


@cache
def _parsers() -> tuple[Any, Any, Any]:
    from lxml import etree  # noqa: PLC0415 - see the module's docstring

    safe = {"resolve_entities": False, "no_network": True}
    return etree, etree.XMLParser(huge_tree=True, **safe), etree.XMLParser(recover=True, **safe)
