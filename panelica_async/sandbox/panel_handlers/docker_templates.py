"""App templates, in the forms that were seen (evidence: docker-templates, docker-template-fields)."""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from panelica_async.sandbox.store import Row


@attrs.frozen(kw_only=True)
class Template:
    """An app that can be deployed."""

    row: Row
    """What the list shows."""
    image: str
    variables: tuple[Row, ...] = ()
    helpers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Images of further containers, by what they do for the app."""

    @property
    def details(self) -> dict[str, Any]:
        """What a single template shows. Its variables are JSON as text, as panels may send them."""
        return {**self.row, "env_vars": json.dumps(self.variables)}


def _variable(key: str, default: str = "", *, required: bool = False, secret: bool = False) -> Row:
    return {"key": key, "required": required, "default": default, "secret": secret}


def _row(slug: str, name: str, category: str, *, memory_mb: int, linked: Any) -> Row:
    return {
        "slug": slug,
        "name": name,
        "description": f"{name} in a container",
        # About three quarters of the templates of a panel have no logo.
        "logo_url": f"https://panel.example.com/logos/{slug}.svg" if slug == "ghost" else None,
        "categories": [category],
        "min_memory_mb": memory_mb,
        "min_cpu_percent": 25,
        "is_popular": slug == "ghost",
        "deploy_count": 42,
        "linked_services": linked,
        "website_url": f"https://{slug}.example.org",
        "documentation_url": f"https://{slug}.example.org/docs",
    }


_TEMPLATES = (
    Template(
        row=_row("ghost", "Ghost", "cms", memory_mb=512, linked='["mysql"]'),
        image="ghost:5",
        variables=(_variable("url", required=True), _variable("ADMIN_PASSWORD", secret=True)),
        helpers={"database": "mysql:8"},
    ),
    Template(
        row=_row("n8n", "n8n", "automation", memory_mb=256, linked=[]),
        image="n8nio/n8n:1",
        variables=(_variable("TZ", "UTC", required=True),),
    ),
    Template(
        row=_row("uptime-kuma", "Uptime Kuma", "monitoring", memory_mb=128, linked=[]), image="louislam/uptime-kuma:1"
    ),
)
TEMPLATES: Mapping[str, Template] = {template.row["slug"]: template for template in _TEMPLATES}
