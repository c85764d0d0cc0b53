"""Signatures: the vectors, the mistakes that must not match, and the credentials that are refused."""

import hashlib
import hmac
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async.core.signing import Signer, signed_path, string_to_sign, verify
from panelica_async.errors import ConfigurationError

FILE = json.loads((Path(__file__).parents[1] / "data" / "signing-vectors.json").read_text("utf-8"))
SECRET = FILE["secret"]
TIMESTAMP = FILE["timestamp"]
VECTORS = FILE["vectors"]
PREFIX = "/api/external"
KEY = "pk_test_0123456789abcdef"


def by_name(vector):
    return vector["name"]


def request_of(vector):
    raw_path, _, raw_query = vector["wire_target"].partition("?")
    content_type = "multipart/form-data; boundary=b" if "multipart" in vector["name"] else "application/json"
    return vector["method"], raw_path, raw_query, vector["wire_body"].encode(), content_type


def sign(vector, secret=SECRET):
    method, raw_path, raw_query, body, content_type = request_of(vector)
    path = raw_path.removeprefix(PREFIX)
    return Signer(KEY, secret).headers(
        method, path, raw_query, body, timestamp=int(TIMESTAMP), content_type=content_type
    )


def check(vector, signature, **changes):
    method, raw_path, raw_query, body, content_type = request_of(vector)
    arguments = {
        "method": method,
        "raw_path": raw_path,
        "raw_query": raw_query,
        "body": body,
        "prefix": PREFIX,
        "timestamp": TIMESTAMP,
        "content_type": content_type,
    }
    return verify(SECRET, signature, **{**arguments, **changes})


def test_vectors_are_complete():
    assert len(VECTORS) == 15
    assert sum(len(vector["wrong"]) for vector in VECTORS) == 7


@pytest.mark.parametrize("vector", VECTORS, ids=by_name)
def test_string_to_sign_is_that_of_the_vector(vector):
    method, raw_path, raw_query, body, content_type = request_of(vector)
    path = signed_path(raw_path, PREFIX)
    string = string_to_sign(method, path, raw_query, TIMESTAMP, body, content_type=content_type)
    assert string == vector["string_to_sign"].encode()


@pytest.mark.parametrize("vector", VECTORS, ids=by_name)
def test_headers_carry_key_timestamp_and_signature(vector):
    assert sign(vector) == {"X-API-Key": KEY, "X-Timestamp": TIMESTAMP, "X-Signature": vector["signature"]}


@pytest.mark.parametrize("vector", VECTORS, ids=by_name)
def test_verify_accepts_the_right_signature(vector):
    assert check(vector, vector["signature"])


@pytest.mark.parametrize(
    ("vector", "mistake"),
    [pytest.param(vector, mistake, id=mistake) for vector in VECTORS for mistake in vector["wrong"]],
)
def test_wrong_variants_do_not_match(vector, mistake):
    wrong = vector["wrong"][mistake]
    # The vector itself is sound: it is the signature of the mistaken string.
    assert hmac.new(SECRET.encode(), wrong["string"].encode(), hashlib.sha256).hexdigest() == wrong["signature"]
    assert sign(vector)["X-Signature"] != wrong["signature"]
    assert not check(vector, wrong["signature"])


@pytest.mark.parametrize("vector", VECTORS, ids=by_name)
def test_verify_rejects_any_changed_part(vector):
    signature = vector["signature"]
    assert not check(vector, sign(vector, secret="sk_test_another")["X-Signature"])
    assert not check(vector, signature, timestamp=str(int(TIMESTAMP) + 1))
    assert not check(vector, signature, method="OPTIONS")
    assert not check(vector, signature, raw_query="x=1")
    assert not check(vector, signature.upper())
    assert not check(vector, "")
    assert not check(vector, "é\udcff")


def test_body_is_signed_except_for_delete_and_multipart():
    put, delete, multipart = (VECTORS[index] for index in (10, 8, 11))
    assert not check(put, put["signature"], body=b"{}")
    assert check(delete, delete["signature"], body=b"anything")
    assert check(multipart, multipart["signature"], body=b"anything", content_type="Multipart/Form-Data; boundary=x")
    assert not check(multipart, multipart["signature"], content_type="application/json")


def test_method_is_signed_in_upper_case():
    assert string_to_sign("delete", "/v1/x", "", "1", b"body") == b"DELETE/v1/x1"


@pytest.mark.parametrize(
    ("raw_path", "prefix", "expected"),
    [
        ("/api/external/v1/me", "/api/external", "/v1/me"),
        ("/v1/me", "/api/external", "/v1/me"),
        ("/v1/me", "", "/v1/me"),
        ("/gw/api/external/v1/me", "/gw/api/external", "/v1/me"),
        ("/api/external2/v1/me", "/api/external", "/api/external2/v1/me"),
        ("/api/external/api/external/v1", "/api/external", "/api/external/v1"),
        ("/v1/a%20b+c%2Bd", "", "/v1/a b+c+d"),
        ("/v1/%C5%9Fubat", "", "/v1/şubat"),
        ("/v1/100%25", "", "/v1/100%"),
    ],
)
def test_signed_path_is_decoded_and_without_prefix(raw_path, prefix, expected):
    assert signed_path(raw_path, prefix) == expected


@given(st.binary(max_size=30))
def test_path_of_any_bytes_is_signed_as_those_bytes(data):
    raw_path = "/v1/" + "".join(f"%{byte:02X}" for byte in data)
    assert string_to_sign("GET", signed_path(raw_path), "", "1", b"") == b"GET/v1/" + data + b"1"


def test_signers_of_one_key_do_not_disturb_each_other():
    signer = Signer(KEY, SECRET)
    first = signer.headers("GET", "/v1/me", "", b"", timestamp=1)
    signer.headers("GET", "/v1/other", "", b"", timestamp=2)
    assert signer.headers("GET", "/v1/me", "", b"", timestamp=1) == first


def test_secret_is_never_shown():
    signer = Signer(KEY, SECRET)
    assert SECRET not in repr(signer)
    assert KEY not in repr(signer)
    assert not any(SECRET in str(getattr(signer, name)) for name in signer.__slots__)
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize("field", ["api_key", "api_secret"])
@pytest.mark.parametrize(
    "value", ["", " ", "two words", "line\n", "\ttab", "nul\x00", "ключ", "pk_live_é", "\x7f", None, b"bytes"]
)
def test_credentials_when_bad_are_named_without_value(field, value):
    arguments = {"api_key": KEY, "api_secret": SECRET, field: value}
    with pytest.raises(ConfigurationError, match=f"^{field} ") as caught:
        Signer(**arguments)
    assert caught.value.hint
    if isinstance(value, str) and value.strip():
        assert value not in str(caught.value)


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("name", ["api_key", "api_secret"])
def test_quotes_around_a_credential_are_noticed(name, quote):
    arguments = {"api_key": KEY, "api_secret": SECRET}
    arguments[name] = f"{quote}{arguments[name]}{quote}"
    with pytest.raises(ConfigurationError, match=rf"{name} starts with a quote.*Hint: Remove the quotes") as caught:
        Signer(**arguments)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("api_key", "api_secret"), [(SECRET, KEY), (SECRET, SECRET), (KEY, KEY), (KEY, "mk_0123456789")]
)
def test_swapped_credentials_are_noticed(api_key, api_secret):
    with pytest.raises(ConfigurationError, match="swapped") as caught:
        Signer(api_key, api_secret)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize("api_key", ["pk_live_a", "pk_test_a", "mk_a", "anything-else"])
def test_unknown_prefix_is_part_of_the_signed_path(api_key):
    assert Signer(api_key, "any secret".replace(" ", "-")).api_key == api_key
