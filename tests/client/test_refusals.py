"""Refusals of a panel, end to end: the documented error, with a hint that says what to do."""

import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from panelica_async import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    MissingScopeError,
    NotFoundError,
    PanelicaClient,
    PermissionDeniedError,
    RateLimitedError,
    ResponseError,
)
from panelica_async.models import Account, Domain
from panelica_async.ratelimit import RateLimit
from panelica_async.sandbox import Credentials, Sandbox

PASSWORD = "correct horse 9"

E = TypeVar("E", bound=ResponseError)


@asynccontextmanager
async def client(box: Sandbox, key: Credentials | None = None, **options: Any) -> AsyncIterator[PanelicaClient]:
    """A client of a sandbox, with its root key unless another is passed."""
    signer = {"api_key": (key or box).api_key, "api_secret": (key or box).api_secret}
    async with PanelicaClient(box.base_url, **{"tier": "enterprise", **signer, **options}) as panel:
        yield panel


async def refused(kind: type[E], call: Awaitable[object]) -> E:
    """Return the error of a call, which is of exactly this class and has a hint."""
    with pytest.raises(kind) as caught:
        await call
    error = caught.value
    assert type(error) is kind
    assert error.hint
    assert f"Hint: {error.hint}" in str(error)
    assert error.request_id is not None
    assert error.request_id.startswith("req_")
    assert error.attempts == 1
    return error


@pytest.fixture
async def account(panel: PanelicaClient) -> Account:
    return await panel.accounts.create(username="acme", email="owner@example.com", password=PASSWORD)


@pytest.fixture
async def domain(panel: PanelicaClient, account: Account) -> Domain:
    return await panel.domains.create(domain="acme.example", user_id=account.id)


async def test_wrong_secret_raises_authentication_error(box: Sandbox) -> None:
    async with client(box, api_secret="sk_live_wrong") as panel:
        error = await refused(AuthenticationError, panel.me())
        assert (error.status, error.code) == (401, "INVALID_SIGNATURE")
        assert error.hint == "Check that the API secret belongs to this API key and was not regenerated since."
        assert "sk_live_wrong" not in str(error)
        await refused(
            AuthenticationError, panel.accounts.create(username="a", email="a@example.com", password=PASSWORD)
        )


async def test_unknown_key_raises_authentication_error(box: Sandbox) -> None:
    async with client(box, api_key="pk_live_unknown") as panel:
        error = await refused(AuthenticationError, panel.me())
        assert error.code == "UNAUTHORIZED"


async def test_clock_within_the_tolerance_is_accepted() -> None:
    async with Sandbox(tier="enterprise", clock=lambda: time.time() + 200) as box, client(box) as panel:
        assert (await panel.me()).scopes == ["*:*"]


async def test_missing_scope_is_named(box: Sandbox, domain: Domain) -> None:
    async with client(box, box.add_key(scopes=["domains:read", "dns:*"])) as panel:
        assert (await panel.domains.get(domain.id)).id == domain.id
        error = await refused(MissingScopeError, panel.domains.delete(domain.id))
        assert error.required_scope == "domains:delete"
        assert set(error.available_scopes) == {"domains:read", "dns:*"}
        assert error.hint == "Add the scope domains:delete to the API key in the panel, or use a key that has it."
        assert isinstance(error, PermissionDeniedError)
        assert (error.status, error.method, error.path) == (403, "DELETE", f"/v1/domains/{domain.id}")
    async with client(box) as panel:
        assert (await panel.domains.get(domain.id)).id == domain.id


async def test_duplicate_raises_conflict_error(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    await panel.email.accounts.create(local_part="info", domain_id=domain.id, password=PASSWORD)
    await panel.dns.records.create(domain.id, name="www", type="A", content="192.0.2.1")
    await panel.databases.create(name="shop", domain_id=domain.id)
    await panel.ftp.accounts.create(username="deploy", password=PASSWORD, domain_id=domain.id)
    await panel.ssl.certificates.issue(domain_id=domain.id)
    again = [
        panel.accounts.create(username="acme", email="other@example.com", password=PASSWORD),
        panel.accounts.create(username="other", email="Owner@example.com", password=PASSWORD),
        panel.domains.create(domain="ACME.example", user_id=account.id),
        panel.dns.records.create(domain.id, name="www", type="A", content="192.0.2.1"),
        panel.email.accounts.create(local_part="Info", domain_id=domain.id, password=PASSWORD),
        panel.databases.create(name="shop", domain_id=domain.id),
        panel.ftp.accounts.create(username="deploy", password=PASSWORD, domain_id=domain.id),
        panel.ssl.certificates.issue(domain_id=domain.id),
        panel.plans.create(name="Starter"),
    ]
    for call in again:
        error = await refused(ConflictError, call)
        assert (error.status, error.code) == (409, "CONFLICT")
        assert "List what exists" in str(error.hint)


async def test_missing_object_raises_not_found_error(panel: PanelicaClient) -> None:
    for call in (
        panel.domains.get("gone"),
        panel.accounts.update("gone", email="a@example.com"),
        panel.dns.records.list("gone").collect(),
        panel.server.services.restart("minecraft"),
        panel.backups.delete("gone"),
        panel.request("GET", "/v1/no-such-endpoint"),
    ):
        error = await refused(NotFoundError, call)
        assert (error.status, error.code) == (404, "NOT_FOUND")


async def test_invalid_value_raises_bad_request_error(panel: PanelicaClient, account: Account) -> None:
    for call in (
        panel.accounts.create(username="x", email="x@example.com", password="short"),
        panel.domains.create(domain="no domain", user_id=account.id),
        panel.domains.create(domain="a.example", user_id=account.id, php_version="5.2"),
        panel.api_keys.create(name="key", scopes=["everything"]),
        panel.request("POST", "/v1/domains", json=[]),
        panel.request("POST", "/v1/domains"),
    ):
        error = await refused(BadRequestError, call)
        assert error.status == 400


async def test_full_plan_raises_permission_denied_error(panel: PanelicaClient) -> None:
    plan = await panel.plans.create(name="Tiny", max_domains=0)
    owner = await panel.accounts.create(username="tiny", email="t@example.com", password=PASSWORD, plan_id=plan.id)
    error = await refused(PermissionDeniedError, panel.domains.create(domain="tiny.example", user_id=owner.id))
    assert "plan" in str(error.hint)


async def test_address_off_the_whitelist_is_denied(box: Sandbox) -> None:
    async with client(box, box.add_key(ip_whitelist=["192.0.2.1"])) as panel:
        error = await refused(PermissionDeniedError, panel.me())
        assert error.status == 403


async def test_expired_key_raises_authentication_error(box: Sandbox) -> None:
    async with client(box, box.add_key(expires_at=datetime.now(UTC) - timedelta(days=1))) as panel:
        error = await refused(AuthenticationError, panel.me())
        assert "expired" in str(error.hint)


async def test_used_up_quota_raises_rate_limited_error() -> None:
    async with Sandbox("starter") as box, client(box, max_retries=0, limiter=RateLimit.unlimited()) as panel:
        error: RateLimitedError | None = None
        for _ in range(130):  # more than two minutes' worth, should a new minute begin meanwhile
            try:
                await panel.me()
            except RateLimitedError as caught:
                error = caught
                break
    assert error is not None
    assert (error.status, error.code, error.window, error.limit) == (429, "RATE_LIMIT_EXCEEDED", "minute", 60)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 60
    assert error.hint
