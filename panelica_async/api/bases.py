"""Hand-written base classes of generated resources: waiting for certificates and backups, and sign-in links.

Waits for what a panel does in the background, such as certificates and backups, only read: they can be stopped and
started again at any time, in another process too. `transfer` and `stacks` have the other bases.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from math import isnan
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import attrs
from yarl import URL

from panelica_async.api.resource import Resource, refuse_coroutine_function
from panelica_async.core.request import path_segment
from panelica_async.errors import DecodeError, RateLimitWaitError, RequestTimeoutError, ServerError, TransportError

if TYPE_CHECKING:
    from panelica_async.models.accounts_panel import SsoLogin
    from panelica_async.models.backups import Backup
    from panelica_async.models.ssl import Certificate

T = TypeVar("T")

_FIRST, _GROWTH, _LONGEST = 2.0, 1.5, 30.0
"""Seconds between the first two reads, their growth from read to read, and their maximum: ten minutes take 26 reads."""
_PASSING = (TransportError, ServerError, RateLimitWaitError)
"""Failures that say nothing about the work."""
_CERTIFICATE_ENDS = frozenset({"active", "failed"})
# Guess: a backup without a state is whole, since panels that send none list no other (evidence: backups-list).
_BACKUP_ENDS = frozenset({"completed", "failed", None})
# Guess: the form of a timestamp is not known; it begins with a digit, and has between digits what dates have.
_STAMP = re.compile(r"[\s_.-]?[0-9][0-9\s_.:TZ+-]*")

Progress = Callable[[T, float], object]
"""A function called after each read, with the result and the seconds that have passed."""


async def wait_until(
    read: Callable[[], Awaitable[T]],
    is_done: Callable[[T], bool],
    *,
    deadline: float,
    on_progress: Progress[T] | None = None,
    subject: str = "the work",
) -> T:
    """Repeat a read at growing intervals until it shows that the work is done; return the last result.

    A read that fails because the panel is down or the quota is used up is repeated, too.

    ```python
    await wait_until(lambda: panel.git.deployments.logs(id), lambda log: log["status"] != "running", deadline=600)
    ```

    Args:
        read: Function that makes the call, such as `lambda: panel.domains.get(id)`.
        is_done: Function that returns whether a result shows that the work is done.
        deadline: Seconds to wait.
        on_progress: Function called after each read, with the result and the seconds that have passed.
        subject: Name of the work in the message of the error.

    Raises:
        ValueError: `deadline` is not a number.
        TypeError: `is_done` or `on_progress` is a coroutine function.
        RequestTimeoutError: The work was not done by the deadline; you may wait again.
    """
    if not isinstance(deadline, int | float) or isnan(deadline):
        raise ValueError(f"deadline must be a number of seconds, not {deadline!r}")
    refuse_coroutine_function("is_done", is_done)
    refuse_coroutine_function("on_progress", on_progress)
    clock = asyncio.get_running_loop().time
    began, interval = clock(), _FIRST
    failure: Exception | None = None
    while True:
        try:
            async with asyncio.timeout_at(began + deadline):
                found = await read()
        except (*_PASSING, TimeoutError) as error:
            failure = error
        else:
            failure = None
            if on_progress is not None:
                on_progress(found, clock() - began)
            if is_done(found):
                return found
        left = began + deadline - clock()
        if left <= 0:
            problem = f"{subject} is not done after {deadline:g} s"
            try:
                raise RequestTimeoutError(problem, hint="Wait again: waiting only reads.") from failure
            finally:
                # Its traceback holds this frame, and so would keep the last call alive.
                del failure
        await asyncio.sleep(min(interval, left))
        interval = min(interval * _GROWTH, _LONGEST)


class CertificateWait(Resource):
    """Certificates that the panel obtains in the background."""

    async def wait(
        self, domain_id: str, *, deadline: float = 600.0, on_progress: "Progress[Certificate | None] | None" = None
    ) -> "Certificate":
        """Wait until the certificate of a domain has been issued or has failed, after `issue`; takes about a minute.

        Only reads, at intervals from 2 to 30 seconds. On current panels it ends when the domain has any certificate.

        Scope: `ssl:read`.

        Args:
            domain_id: Id of the domain.
            deadline: Seconds to wait.
            on_progress: Function called after each read, with the certificate, or None if there is none yet, and the
                seconds that have passed.

        Returns:
            The certificate. `status` is `failed` if the panel could not obtain it.

        Raises:
            ValueError: invalid argument; nothing was sent.
            RequestTimeoutError: not done by the deadline; you may wait again.
            NotFoundError: no such domain for the owner of this key.
        """
        # The list of the reference would be searched for an invalid id until the deadline.
        path_segment(domain_id, "domain_id")
        domain_id = str(domain_id)
        found = await wait_until(
            lambda: self._certificate(domain_id),
            lambda certificate: certificate is not None and certificate.status in _CERTIFICATE_ENDS,
            deadline=deadline,
            on_progress=on_progress,
            subject=f"the certificate of domain {domain_id}",
        )
        assert found is not None  # noqa: S101 - it is done
        return found

    async def _certificate(self, domain_id: str) -> "Certificate | None":
        from panelica_async.models.ssl import Certificate, CertificateStatus  # noqa: PLC0415 - loaded by the resource

        runner = self._runner
        await runner.dialect.learn(runner.options)
        by_domain = runner.get_operation("ssl.certificates.get")
        if runner.dialect.known in by_domain.wires:
            certificate = await self._call_one(by_domain, Certificate, domain_id=domain_id)
            status = CertificateStatus.ACTIVE if certificate.extra.get("has_ssl") is True else CertificateStatus.PENDING
            return attrs.evolve(certificate, domain_id=domain_id, status=certificate.status or status)
        rows = self._paginate(runner.get_operation("ssl.certificates.list"), Certificate)
        return await anext((row async for row in rows if row.domain_id == domain_id), None)


class BackupWait(Resource):
    """Backups that the panel makes in the background."""

    async def wait(
        self, backup: "str | Backup", *, deadline: float = 3600.0, on_progress: "Progress[Backup | None] | None" = None
    ) -> "Backup":
        """Wait until a backup is complete, after `create`.

        Only reads, at intervals from 2 to 30 seconds.

        Scope: `backups:read`.

        Args:
            backup: What `create` returned; or the id, file name or name of the backup. Of several backups with that
                name, which current panels distinguish by a timestamp after it, the newest.
            deadline: Seconds to wait.
            on_progress: Function called after each read, with the backup, or None if it is not listed yet, and the
                seconds that have passed.

        Returns:
            The backup. `status` is `failed` if it could not be made.

        Raises:
            ValueError: the backup has neither an id nor a name.
            RequestTimeoutError: not done by the deadline; you may wait again.
        """
        backup = str(backup) if isinstance(backup, UUID) else backup
        ids, name = ({backup}, backup) if isinstance(backup, str) else (_ids(backup), backup.name)
        if not any(ids) and not name:
            raise ValueError("backup must be what create returned, an id or a name; it has neither")
        found = await wait_until(
            lambda: self._backup(ids, name),
            lambda backup: backup is not None and backup.status in _BACKUP_ENDS,
            deadline=deadline,
            on_progress=on_progress,
            subject=f"the backup {name or next(iter(ids))}",
        )
        assert found is not None  # noqa: S101 - it is done
        return found

    async def _backup(self, ids: set[str], name: str | None) -> "Backup | None":
        from panelica_async.models.backups import Backup  # noqa: PLC0415 - loaded by the resource

        rows: list[Backup] = []
        async for row in self._paginate(self._runner.get_operation("backups.list"), Backup):
            if not ids.isdisjoint(_ids(row)):
                return row  # No other backup has this id; further pages would cost further calls.
            rows.append(row)
        if not name or not ids <= {name}:
            return None
        # A name may also be that of an older backup.
        found = [row for row in rows if row.name == name] or [row for row in rows if _is_stamped(row.name, name)]
        return max(found, key=_age, default=None)


def _ids(backup: "Backup") -> set[str]:
    """Return what identifies a backup: its id, its file, and the id of its own where panels know it by its file."""
    own = (backup.extra.get(name) for name in ("backup_id", "id"))
    return {str(value) for value in (backup.id, backup.filename, *own) if value}


def _is_stamped(name: str | None, wanted: str) -> bool:
    """Return whether a name is the wanted one and a timestamp (evidence: backups-create)."""
    return name is not None and name.startswith(wanted) and _STAMP.fullmatch(name[len(wanted) :]) is not None


def _age(backup: "Backup") -> tuple[bool, float]:
    return backup.created_at is not None, backup.created_at.timestamp() if backup.created_at else 0.0


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
        login = await self._call_one(operation, SsoLogin, id=id)
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
