"""Finds the endpoint of a path."""

from collections.abc import Iterable, Mapping

from panelica_async.sandbox.spec import Endpoint


class Router:
    """A tree of path segments. A literal segment wins over a parameter: `/v1/webhooks/events` is not a webhook's id.

    Args:
        endpoints: What there is to find.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._root = _Node()
        for endpoint in endpoints:
            node = self._root
            for segment in _segments(endpoint.path):
                if segment.startswith("{"):
                    node.parameter = node.parameter or _Node()
                    node = node.parameter
                else:
                    node = node.literals.setdefault(segment, _Node())
            node.endpoints[endpoint.method] = endpoint

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """Return the endpoint and its path parameters, or None.

        Args:
            method: HTTP method in upper case.
            path: Decoded path without public prefix: the backend "reads r.URL.Path" (panel-facts A.2).
        """
        segments = _segments(path)
        endpoint = _find(self._root, segments, method)
        if endpoint is None:
            return None
        names = _segments(endpoint.path)
        return endpoint, {
            name[1:-1]: value for name, value in zip(names, segments, strict=True) if name.startswith("{")
        }


class _Node:
    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.endpoints: dict[str, Endpoint] = {}


def _segments(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


def _find(node: _Node, segments: list[str], method: str) -> Endpoint | None:
    if not segments:
        return node.endpoints.get(method)
    first, *rest = segments
    if first in node.literals and (found := _find(node.literals[first], rest, method)):
        return found
    return _find(node.parameter, rest, method) if node.parameter and first else None
