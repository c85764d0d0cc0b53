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
