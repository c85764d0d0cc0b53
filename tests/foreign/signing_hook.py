"""Lets schemathesis sign what it sends: the bytes of each prepared request, with the key in the environment."""

import hashlib
import hmac
import os
import time
from urllib.parse import unquote_to_bytes, urlsplit

import requests
import schemathesis

PREFIX = "/api/external"


class Signed(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        target = urlsplit(request.url)
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        stamp = str(int(time.time()))
        path = unquote_to_bytes(target.path.removeprefix(PREFIX))
        query = f"?{target.query}".encode() if target.query else b""
        text = request.method.encode() + path + query + stamp.encode() + (b"" if request.method == "DELETE" else body)
        secret = os.environ["PANELICA_API_SECRET"].encode()
        request.headers["X-API-Key"] = os.environ["PANELICA_API_KEY"]
        request.headers["X-Timestamp"] = stamp
        request.headers["X-Signature"] = hmac.new(secret, text, hashlib.sha256).hexdigest()
        return request


schemathesis.auth.set_from_requests(Signed())
