"""A web backend: one client for the life of the application, shared by every request.

Needs PANELICA_BASE_URL, PANELICA_API_KEY and PANELICA_API_SECRET in the environment.
"""

from collections.abc import AsyncGenerator
from math import ceil

from aiohttp import web

from panelica_async import NotFoundError, PanelicaClient, RateLimitWaitError

PANEL = web.AppKey("panel", PanelicaClient)


async def panel_client(application: web.Application) -> AsyncGenerator[None, None]:
    """Open the client when the application starts, and close it when it stops."""
    async with PanelicaClient(app_name="customer-area") as panel:
        application[PANEL] = panel
        yield


async def show_domain(request: web.Request) -> web.Response:
    """Answer with one domain; a visitor waits at most two seconds."""
    panel = request.app[PANEL].with_options(deadline=2.0)
    try:
        domain = await panel.domains.get(request.match_info["id"])
    except NotFoundError:
        raise web.HTTPNotFound from None
    except RateLimitWaitError as error:
        raise web.HTTPServiceUnavailable(headers={"Retry-After": str(ceil(error.wait))}) from error
    return web.json_response({"domain": domain.domain, "status": domain.status, "disk_usage_mb": domain.disk_usage_mb})


def application() -> web.Application:
    """Build the application."""
    app = web.Application()
    app.cleanup_ctx.append(panel_client)
    app.router.add_get("/domains/{id}", show_domain)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=8080)
