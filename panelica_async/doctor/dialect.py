"""How the panel speaks: for information only."""

from collections.abc import Mapping

from panelica_async.core.json_codec import JsonValue
from panelica_async.core.redaction import excerpt
from panelica_async.doctor.findings import Finding, ok
from panelica_async.doctor.probe import Probe
from panelica_async.errors import PanelicaError

_NAME = "dialect"


async def check_dialect(probe: Probe) -> Finding:
    """Ask the panel for its description of itself, which current panels have (panel-facts D.1)."""
    try:
        described = await probe.get("/v1/api-spec", signed=False)
    except PanelicaError:
        described = None
    endpoints = described.get("endpoints") if isinstance(described, Mapping) else None
    if not isinstance(described, Mapping) or not isinstance(endpoints, list):
        return ok(_NAME, "reference: the panel does not describe itself", dialect="reference")
    title, version = _text(described, "title"), _text(described, "panel_version") or _text(described, "version")
    named = " ".join(filter(None, (title, version)))
    message = f"panel: it describes itself{named and ' as '}{named}, with {len(endpoints)} endpoints"
    return ok(_NAME, message, dialect="panel", title=title, version=version)


def _text(described: Mapping[str, JsonValue], name: str) -> str | None:
    value = described.get(name)
    return excerpt(value) if isinstance(value, str) else None
