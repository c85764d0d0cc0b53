"""Hand-written base classes of generated resources: waiting for certificates and backups, and sign-in links.

Waiting for background work of the panel only reads, so it can be stopped and started again at any time, even in another
process. The other base classes are in `transfer` and `stacks`.
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

_FIRST_INTERVAL, _INTERVAL_GROWTH, _LONGEST_INTERVAL = 2.0, 1.5, 30.0
"""Seconds between the first two reads, their growth from read to read, and their maximum: ten minutes take 26 reads."""
_TRANSIENT_ERRORS = (TransportError, ServerError, RateLimitWaitError)
"""Failures of a read that say nothing about the work."""
_FINAL_CERTIFICATE_STATES = frozenset({"active", "failed"})
# Guess: a backup without a state is complete; panels that send no state list complete ones only
# (evidence: backups-list).
_FINAL_BACKUP_STATES = frozenset({"completed", "failed", None})
# Guess: the format of the timestamp is unknown; it begins with a digit, and only has characters that dates have.
_TIMESTAMP_SUFFIX = re.compile(r"[\s_.-]?[0-9][0-9\s_.:TZ+-]*")

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
    started_at, interval = clock(), _FIRST_INTERVAL
    failure: Exception | None = None
    while True:
        try:
            async with asyncio.timeout_at(started_at + deadline):
                result = await read()
        except (*_TRANSIENT_ERRORS, TimeoutError) as error:
            failure = error
        else:
            failure = None
            if on_progress is not None:
                on_progress(result, clock() - started_at)
            if is_done(result):
                return result
        remaining = started_at + deadline - clock()
        if remaining <= 0:
            problem = f"{subject} is not done after {deadline:g} s"
            try:
                raise RequestTimeoutError(problem, hint="Wait again: waiting only reads.") from failure
            finally:
                # Error, traceback and this frame would form a cycle, and keep the last call alive.
                del failure
        await asyncio.sleep(min(interval, remaining))
        interval = min(interval * _INTERVAL_GROWTH, _LONGEST_INTERVAL)


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
        # With the reference dialect, an invalid id would only end at the deadline: no certificate of the list has it.
        path_segment(domain_id, "domain_id")
        domain_id = str(domain_id)
        issued = await wait_until(
            lambda: self._read_certificate(domain_id),
            lambda certificate: certificate is not None and certificate.status in _FINAL_CERTIFICATE_STATES,
            deadline=deadline,
            on_progress=on_progress,
            subject=f"the certificate of domain {domain_id}",
        )
        assert issued is not None  # noqa: S101 - it is done
        return issued

    async def _read_certificate(self, domain_id: str) -> "Certificate | None":
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
        ids, name = ({backup}, backup) if isinstance(backup, str) else (_identifiers(backup), backup.name)
        if not any(ids) and not name:
            raise ValueError("backup must be what create returned, an id or a name; it has neither")
        complete = await wait_until(
            lambda: self._find_backup(ids, name),
            lambda backup: backup is not None and backup.status in _FINAL_BACKUP_STATES,
            deadline=deadline,
            on_progress=on_progress,
            subject=f"the backup {name or next(iter(ids))}",
        )
        assert complete is not None  # noqa: S101 - it is done
        return complete

    async def _find_backup(self, ids: set[str], name: str | None) -> "Backup | None":
        from panelica_async.models.backups import Backup  # noqa: PLC0415 - loaded by the resource

        rows: list[Backup] = []
        async for row in self._paginate(self._runner.get_operation("backups.list"), Backup):
            if not ids.isdisjoint(_identifiers(row)):
                return row  # No other backup has this id; save the calls for the other pages.
            rows.append(row)
        if not name or not ids <= {name}:
            return None
        # Several backups can have the same name.
        namesakes = [row for row in rows if row.name == name]
        namesakes = namesakes or [row for row in rows if _has_timestamp_suffix(row.name, name)]
        return max(namesakes, key=_by_creation, default=None)


def _identifiers(backup: "Backup") -> set[str]:
    """Return all that identifies a backup: its id, its file name, and ids that the panel shows besides these."""
    other_ids = (backup.extra.get(name) for name in ("backup_id", "id"))
    return {str(value) for value in (backup.id, backup.filename, *other_ids) if value}


def _has_timestamp_suffix(name: str | None, base: str) -> bool:
    """Return whether a name is a base name and a timestamp (evidence: backups-create)."""
    return name is not None and name.startswith(base) and _TIMESTAMP_SUFFIX.fullmatch(name[len(base) :]) is not None


def _by_creation(backup: "Backup") -> tuple[bool, float]:
    return backup.created_at is not None, backup.created_at.timestamp() if backup.created_at else 0.0


class SignIn(Resource):
    """Links that sign in to an account."""

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
            DecodeError: the link is missing, or is not an https address; the error does not show it.
            UnsupportedOperationError: the panel speaks the published reference, which lacks this operation.
            OutcomeUnknownError: sent, outcome unknown.
        """
        from panelica_async.models.accounts_panel import SsoLogin  # noqa: PLC0415 - loaded on first use

        operation = self._runner.get_operation("accounts.sso_login")
        login = await self._call_one(operation, SsoLogin, id=id)
        return attrs.evolve(login, url=self._with_panel_host(login.url, operation.wire.endpoint))

    def _with_panel_host(self, link: str, endpoint: str) -> str:
        """Return a link with the host under which this client reaches the panel (evidence: sso-login)."""
        try:
            url = URL(link, encoded=True)
        except ValueError:
            url = URL()
        if url.scheme != "https" or not url.host:
            problem = "the panel accepted the request, but the link in its reply is not an https address"
            raise DecodeError(problem, endpoint=endpoint, json_path="$.url")
        return str(url.with_host(self._runner.transport.host))
