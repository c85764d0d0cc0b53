"""The Postman collection of a document, format 2.1, with a script that signs each request."""

import json
import re
from typing import Any

from panelica_async.sandbox.spec import Document, Endpoint, Json

_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

# METHOD + decoded path + ["?" + raw query] + TIMESTAMP + BODY, DELETE without its body (evidence: signed-text).
# Dynamic variables, such as {{$guid}}, have another value on each use, so the value that is signed is put into
# the request. The text is signed as bytes, one character of the string each, because a path may not decode to UTF-8.
_SIGNING_SCRIPT = r"""
const bytes = (text) => unescape(encodeURIComponent(text));
const hexadecimal = (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase();
const escaped = (text) => Array.from(bytes(text), (byte) => "%" + hexadecimal(byte)).join("");
const decoded = (text) => text.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));

let url = pm.variables.replaceIn(pm.request.url.toString());
url = /^https?:\/\//i.test(url) ? url : "https://" + url;
url = url.replace(/[\u0000-\u0020"'<>\\^`{|}\u007f-\u{10ffff}]+/gu, escaped).replace(/%(?![0-9a-f]{2})/gi, "%25");
url = url.replace(/#.*$/, "").replace(/^(https?:\/\/[^?]*?)\/{2,}v1\//i, "$1/v1/");
pm.request.url.update(url);

let body = "";
if (pm.request.body && pm.request.body.mode === "raw") {
  body = pm.variables.replaceIn(pm.request.body.toString());
  pm.request.body.update({mode: "raw", raw: body});
}

const [, target] = url.match(/^https?:\/\/[^\/?]+(?:\/api\/external(?=\/))?(.*)$/i);
const [path, query] = target.split(/\?(.*)/s);
const timestamp = Math.floor(Date.now() / 1000).toString();
const signed = decoded(path) + (query ? "?" + query : "");
const text = pm.request.method + signed + timestamp + (pm.request.method === "DELETE" ? "" : bytes(body));
const secret = CryptoJS.enc.Utf8.parse(pm.variables.get("api_secret"));
const signature = CryptoJS.HmacSHA256(CryptoJS.enc.Latin1.parse(text), secret).toString();
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
            {
                "listen": "prerequest",
                "script": {"type": "text/javascript", "exec": _SIGNING_SCRIPT.strip().splitlines()},
            }
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
