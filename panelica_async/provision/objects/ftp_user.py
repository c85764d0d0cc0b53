"""The FTP users of a site."""

from typing import Any

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.models.ftp import FtpAccount
from panelica_async.provision.manifest import FtpUser
from panelica_async.provision.objects.base import (
    Match,
    NewObject,
    StepKind,
    View,
    or_unset,
    shown,
    spellings,
    with_owner,
    without_none,
)
from panelica_async.provision.objects.domain import InDomain
from panelica_async.provision.snapshot import Listing


@attrs.frozen(kw_only=True)
class FtpUserStep(InDomain):
    """Creates an FTP user for the files of the domain."""

    kind = StepKind.FTP_USER
    operation = "ftp.accounts.create"
    listing = Listing.FTP_USERS
    password_needed = True

    user: FtpUser
    is_shared_name: bool = False
    """Whether another owner in the manifest asks for the same name."""
    default_home: str | None = None
    """Directory when the manifest names none; None leaves it to the panel."""

    @property
    def key(self) -> str:
        """The login name in lower case, with the owner where two ask for it."""
        key = self.user.username.lower()
        return with_owner(key, self.domain.account.key) if self.is_shared_name else key

    @property
    def password(self) -> str | None:
        """The user's password in the manifest, if any."""
        return self.user.password

    @property
    def arguments(self) -> dict[str, Any]:
        """Name, directory and quota."""
        home = self.user.home_directory or self.default_home
        return without_none(username=self.user.username, home_directory=home, quota_mb=self.user.quota_mb)

    def match(self, view: View) -> Match:
        """Find the user by the login name and compare whose it is, the directory and the quota."""
        for name in spellings(self.user.username, self.domain.account.key):
            row = view.snapshot.ftp_users_by_name.get(name)
            if row is not None and not self._is_ours(row, view):
                return Match.different("an FTP user of that name belongs to another site")
            if row is not None:
                return self._compare(row)
        return Match.absent()

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the FTP user."""
        user = await panel.ftp.accounts.create(
            username=self.user.username,
            password=password,
            domain_id=view.id_of(self.domain),
            home_directory=or_unset(self.user.home_directory or self.default_home),
            quota_mb=or_unset(self.user.quota_mb),
            user_id=view.id_of(self.domain.account),
        )
        return NewObject(user.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete an FTP user."""
        await panel.ftp.accounts.delete(object_id)

    def _is_ours(self, row: FtpAccount, view: View) -> bool:
        # `domain_id` can be null or absent, `user_id` is there (evidence: absent-fields, ftp-accounts).
        if row.domain_id is not None:
            return row.domain_id == view.ids.get(self.domain.id)
        return row.user_id is not None and row.user_id == view.ids.get(self.domain.account.id)

    def _compare(self, row: FtpAccount) -> Match:
        home, quota = self.user.home_directory, self.user.quota_mb
        have = row.home_directory
        # A path below the account's home may come back as a full one. Guess: the home is named after the account.
        end = (home or "").strip("/") or self.domain.account.key
        if home and have and have != home and not f"/{have.strip('/')}/".endswith(f"/{end}/"):
            return Match.different(f"the FTP user is confined to {shown(have)}, not {home}")
        if quota is not None and row.quota_mb is not None and row.quota_mb != quota:
            return Match.different(f"the FTP user has a quota of {shown(row.quota_mb)} MB, not {quota}")
        return Match.same(row.id)
