"""The Postman collection of a document, format 2.1, with a script that signs each request."""

import json
import re
from typing import Any

from panelica_async.sandbox.document import Document, Endpoint, Json

_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

# METHOD + decoded path + ["?" + raw query] + TIMESTAMP + BODY, DELETE without its body (panel-facts A.2).
_SIGNING_SCRIPT = """\
const timestamp = Math.floor(Date.now() / 1000).toString();
const url = pm.variables.replaceIn(pm.request.url.toString());
const [, target] = url.match(/^https?:\\/\\/[^/]+(?:\\/api\\/external)?(\\/.*)$/);
const [path, query] = target.split(/\\?(.*)/s);
const signed = decodeURIComponent(path) + (query ? "?" + query : "");
const sent = pm.request.body ? pm.variables.replaceIn(pm.request.body.toString()) : "";
const body = pm.request.method === "DELETE" ? "" : sent;
const text = pm.request.method + signed + timestamp + body;
const signature = CryptoJS.HmacSHA256(text, pm.variables.get("api_secret")).toString();
pm.request.headers.upsert({key: "X-API-Key", value: pm.variables.get("api_key")});
pm.request.headers.upsert({key: "X-Timestamp", value: timestamp});
pm.request.headers.upsert({key: "X-Signature", value: signature});
"""


def collection(document: Document) -> dict[str, Any]:
    """Return the collection, a folder for each tag."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for endpoint in document.endpoints:
        folders.setdefault(endpoint.tag, []).append(_request(endpoint))
    return {
        "info": {"name": document.content["info"]["title"], "schema": _SCHEMA},
        "item": [{"name": tag, "item": requests} for tag, requests in folders.items()],
        "event": [
            {"listen": "prerequest", "script": {"type": "text/javascript", "exec": _SIGNING_SCRIPT.splitlines()}}
        ],
        "variable": [
            {"key": "base_url", "value": "https://panel.example.com:8443/api/external"},
            {"key": "api_key", "value": ""},
            {"key": "api_secret", "value": ""},
        ],
    }


def _request(endpoint: Endpoint) -> dict[str, Any]:
    path = re.sub(r"\{(\w+)\}", r":\1", endpoint.path)
    request: dict[str, Any] = {
        "method": endpoint.method,
        "header": [{"key": "Content-Type", "value": "application/json"}] if endpoint.body else [],
        "url": {
            "raw": "{{base_url}}" + path,
            "host": ["{{base_url}}"],
            "path": path.strip("/").split("/"),
            "query": [_parameter(parameter) for parameter in endpoint.query],
            "variable": [{"key": name, "value": ""} for name in re.findall(r"\{(\w+)\}", endpoint.path)],
        },
    }
    if endpoint.body_example is not None:
        request["body"] = {"mode": "raw", "raw": json.dumps(endpoint.body_example, indent=2)}
    return {"name": endpoint.summary, "request": request}


def _parameter(parameter: Json) -> dict[str, Any]:
    value = str(parameter.get("example", ""))
    return {"key": parameter["name"], "value": value, "disabled": not parameter.get("required", False)}
