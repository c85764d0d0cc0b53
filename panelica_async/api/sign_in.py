"""Links that sign in to an account."""

from typing import TYPE_CHECKING

import attrs
from yarl import URL

from panelica_async.api.resource import Resource
from panelica_async.errors import DecodeError

if TYPE_CHECKING:
    from panelica_async.models.accounts_panel import SsoLogin


class SignIn(Resource):
    """Accounts that a link signs in to."""

    async def sso_login(self, id: str) -> "SsoLogin":
        """POST /v1/accounts/{id}/sso-login: create a link that signs in to an account.

        Anyone who opens the link is signed in, once, within five minutes. The panel may put an address into it that
        only its own network knows; it is replaced by the host of `base_url`.

        On current panels only. Scope: `*:*`. The owner of the key must be ROOT or ADMIN. Never sent again once it may
        have taken effect.

        Args:
            id: Id of the account.

        Returns:
            The link, and the seconds for which it works.

        Raises:
            ValueError: invalid argument; nothing was sent.
            NotFoundError: no such account for the owner of this key, or the panel is too old for such links.
            DecodeError: the link is missing, or is no https address; it is not shown.
            UnsupportedOperationError: the panel speaks the published reference, which lacks this operation.
            OutcomeUnknownError: sent, outcome unknown.
        """
        from panelica_async.models.accounts_panel import SsoLogin  # noqa: PLC0415 - loaded on first use

        operation = self._runner.get_operation("accounts.sso_login")
        login = await self._one(operation, SsoLogin, id=id)
        return attrs.evolve(login, url=self._public(login.url, operation.wire.endpoint))

    def _public(self, link: str, endpoint: str) -> str:
        """Return a link with the host under which this client reaches the panel (evidence: sso-login)."""
        try:
            url = URL(link, encoded=True)
        except ValueError:
            url = URL()
        if url.scheme != "https" or not url.host:
            problem = "the panel accepted the request, but the link in its reply is no https address"
            raise DecodeError(problem, endpoint=endpoint, json_path="$.url")
        return str(url.with_host(self._runner.transport.host))
