"""A FastAPI service: one client for the life of the application, errors as HTTP statuses, progress of a backup.

Needs PANELICA_BASE_URL, PANELICA_API_KEY and PANELICA_API_SECRET in the environment, and `pip install fastapi uvicorn`.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import ceil
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from panelica_async import (
    BadRequestError,
    ConflictError,
    DecodeError,
    MissingScopeError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaClient,
    PanelicaError,
    PartialWriteError,
    PermissionDeniedError,
    RateLimitedError,
    RateLimitWaitError,
    RequestTimeoutError,
    ResponseError,
    TransportError,
)
from panelica_async.provision import ManifestError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    """Open the client when the application starts, and close it when it stops."""
    async with PanelicaClient(app_name="customer-area") as panel:
        app.state.panel = panel
        yield


app = FastAPI(lifespan=lifespan)


def panel_for(request: Request) -> PanelicaClient:
    """Return the client for one request: a visitor waits at most ten seconds, including retries and waits for quota."""
    panel: PanelicaClient = request.app.state.panel
    return panel.with_options(deadline=10)


Panel = Annotated[PanelicaClient, Depends(panel_for)]


def http_status(error: PanelicaError) -> int:
    """Return the HTTP status to answer an error with; docs/services.md explains each."""
    match error:
        case NotFoundError() | ConflictError() | BadRequestError():
            return error.status
        case PermissionDeniedError() if not isinstance(error, MissingScopeError):
            return 403
        case ManifestError():
            return 422
        case RateLimitWaitError() | RateLimitedError():
            return 503
        case OutcomeUnknownError() | RequestTimeoutError():
            return 504
        case ResponseError() | TransportError() | DecodeError() | PartialWriteError():
            return 502
        case _:
            return 500


@app.exception_handler(PanelicaError)
async def answer_error(_: Request, error: PanelicaError) -> JSONResponse:
    """Answer the visitor after a failed call, without the details that belong in the log."""
    status = http_status(error)
    wait = error.wait if isinstance(error, RateLimitWaitError) else getattr(error, "retry_after", None)
    headers = {} if wait is None else {"Retry-After": str(ceil(wait))}
    detail = error.message if status < 500 else "The hosting panel cannot do this at the moment."
    return JSONResponse({"detail": detail}, status, headers)


@app.get("/sites/{domain_id}")
async def show_site(domain_id: str, panel: Panel) -> dict[str, Any]:
    """Show a site."""
    return (await panel.domains.get(domain_id)).to_dict()


@app.get("/sites")
async def list_sites(panel: Panel, page: int = 1) -> dict[str, Any]:
    """Show a page of the sites, with the total."""
    return (await panel.domains.list(page=page, limit=25)).to_dict()


@app.post("/sites/{domain_id}/backups", status_code=202)
async def back_up(domain_id: str, panel: Panel) -> dict[str, str]:
    """Start a backup; the next route shows its progress."""
    # A unique name, to find the backup by: current panels may not know the id yet, and add the time to the name.
    name = f"{domain_id[:8]}-{secrets.token_hex(4)}"
    await panel.backups.create(name=name, domain_ids=[domain_id])
    return {"name": name}


@app.get("/backups/{name}")
async def show_backup(name: str, panel: Panel) -> JSONResponse:
    """Show the state of a backup."""
    async for backup in panel.backups.list(sort="created_at", order="desc"):
        if backup.name is not None and backup.name.startswith(name):
            return JSONResponse(backup.to_dict())
    return JSONResponse({"detail": "there is no such backup"}, 404)
