"""The API key of a client: what signs with it and what it may send; it can be replaced while calls wait."""

import attrs

from panelica_async.core.signing import Signer
from panelica_async.transport.quota import KeyQuota


@attrs.frozen(eq=False)
class ApiKey:
    """A key with all that depends on it."""

    signer: Signer = attrs.field(repr=False)
    quota: KeyQuota = attrs.field(repr=False)


@attrs.define
class KeyHolder:
    """Holds the key that is in use."""

    current: ApiKey

    def replace(self, signer: Signer, owner: object) -> None:
        """Use another key of the same panel from now on.

        Args:
            signer: Signs with the new key.
            owner: On whose behalf calls wait for the quota of the old one; they are sent away, and go to the new one.
        """
        quota = self.current.quota
        self.current = ApiKey(signer, quota.of_key(signer.api_key))
        if self.current.quota is not quota:
            quota.dismiss(owner)
