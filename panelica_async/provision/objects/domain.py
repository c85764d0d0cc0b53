"""The domain of a site."""

from typing import Any

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.provision.manifest import Site
from panelica_async.provision.manifest.fields import as_wanted, php_version
from panelica_async.provision.objects.account import AccountStep
from panelica_async.provision.objects.base import (
    ABSENT,
    Match,
    NewObject,
    Step,
    StepKind,
    View,
    different,
    or_unset,
    same,
    shown,
    without_none,
)
from panelica_async.provision.snapshot import Listing

_WEB_SERVERS = {"nginx_only": "nginx", "nginx_apache": "apache"}
"""What current panels call the web servers of the reference (evidence: domains-create)."""


@attrs.frozen(kw_only=True)
class DomainStep(Step):
    """Creates the domain of a site; its DNS zone comes with it."""

    kind = StepKind.DOMAIN
    operation = "domains.create"
    listing = Listing.DOMAINS

    account: AccountStep
    php_version: str | None = None
    web_server: str | None = None

    @classmethod
    def of(cls, site: Site, account: AccountStep) -> "DomainStep":
        """Return the step of a site."""
        return cls(site=site.domain, account=account, php_version=site.php_version, web_server=site.web_server)

    @property
    def key(self) -> str:
        """The domain."""
        return self.site

    @property
    def parents(self) -> tuple[Step, ...]:
        """The account."""
        return (self.account,)

    @property
    def arguments(self) -> dict[str, Any]:
        """Domain, PHP version and web server."""
        return without_none(domain=self.site, php_version=self.php_version, web_server=self.web_server)

    def match(self, view: View) -> Match:
        """Find the domain by its name and compare owner, PHP version and web server."""
        domain = view.snapshot.domains_by_name.get(self.site)
        if domain is None:
            return ABSENT
        if domain.user_id is None or domain.user_id != view.ids.get(self.account.id):
            holder = view.snapshot.accounts_by_id.get(domain.user_id or "")
            return different(f"the domain belongs to {repr(shown(holder.username)) if holder else 'another account'}")
        version = domain.php_version and as_wanted(php_version, domain.php_version)
        if self.php_version and version and version != self.php_version:
            return different(f"the domain runs PHP {shown(version)}, not {self.php_version}")
        servers = {_WEB_SERVERS.get(name or "", name) for name in (domain.web_server, self.web_server)}
        if servers == {"nginx", "apache"}:
            return different(f"the domain is served by {shown(domain.web_server)}, not {self.web_server}")
        return same(domain.id)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:  # noqa: ARG002 - has none
        """Create the domain."""
        domain = await panel.domains.create(
            domain=self.site,
            user_id=view.id_of(self.account),
            php_version=or_unset(self.php_version),
            web_server=or_unset(self.web_server),
        )
        return NewObject(domain.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:  # noqa: ARG003 - not needed
        """Delete a domain with everything in it."""
        await panel.domains.delete(object_id)
