"""A client with its own signing code for a sandbox that acts as a current panel."""

import io
import json
from typing import Any

from yarl import URL

from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.signed_client import PASSWORD, PREFIX, Answer, SignedClient

DOCUMENT = shipped_document("panel_openapi.json")
ENDPOINTS = {endpoint.operation: endpoint for endpoint in DOCUMENT.endpoints}


def check_panel_reply(operation: str | None, reply: Any) -> None:
    """Check a success against the document, as a program would that reads nothing else: envelope, data and all."""
    endpoint = ENDPOINTS[operation or ""]
    [response] = DOCUMENT.content["paths"][endpoint.path][endpoint.method.lower()]["responses"].values()
    DOCUMENT.validator(response["content"]["application/json"]["schema"]).validate(reply)


class PanelClient(SignedClient):
    """Removes the envelope, and checks that the reply has one."""

    def with_key(self, api_key: str, api_secret: str) -> "PanelClient":
        other = PanelClient(self.box, self.session, self.clock)
        other.api_key, other.api_secret = api_key, api_secret
        return other

    def url(self, target: str) -> URL:
        return URL(self.box.base_url.removesuffix(PREFIX) + target, encoded=True)

    async def call(self, method: str, path: str, body: Any = None, **_: Any) -> Answer:
        raw = b"" if body is None else json.dumps(body).encode()
        target = self.prefix + path
        headers = {**self.headers(method, target, raw), "Content-Type": "application/json"}
        async with self.session.request(method, self.url(target), data=io.BytesIO(raw), headers=headers) as response:
            answer = Answer(response.status, await response.json(), response.headers.copy())
        if answer.status < 300:
            check_panel_reply(self.box.requests[-1].operation, answer.data)
        return answer

    async def data(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.call(method, path, body)
        assert answer.status < 300, answer.data
        assert answer.data["status"] == "success"
        return answer.data.get("data")

    async def account(self, username: str = "john", plan: str | None = None, **fields: Any) -> dict[str, Any]:
        body = {"email": f"{username}@example.net", "password": PASSWORD, "full_name": username.title(), **fields}
        row: dict[str, Any] = await self.data("POST", "/v1/accounts", {"username": username, **body})
        assert plan is None
        return row

    async def domain(self, domain: str = "example.com", user_id: str | None = None, **fields: Any) -> dict[str, Any]:
        owner = user_id or (await self.account())["id"]
        row: dict[str, Any] = await self.data("POST", "/v1/domains", {"name": domain, "user_id": owner, **fields})
        return row
