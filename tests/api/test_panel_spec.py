"""The catalogue of a panel: any catalogue is read, and calls are checked against it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async import DecodeError, NotFoundError, PanelicaClient
from panelica_async.api.panel_spec import MAX_ENDPOINTS, compare, known_catalogue, read_catalogue
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply

FIELDS = [
    {"name": "url", "type": "string", "required": True},
    {"name": "branch", "type": "string"},
    {"name": "visibility", "type": "string", "enum": ["public", "private"]},
]
CATALOGUE = {
    "version": "1.0.0",
    "panel_version": "1.0.528",
    "endpoints": [
        {
            "method": "POST",
            "path": "/v1/git/repositories",
            "summary": "Clone a repository",
            "auth": {"required": True, "scopes": ["git:write"]},
            "request": {"body": {"content_type": "application/json", "fields": FIELDS}},
        },
        {
            "method": "GET",
            "path": "/v1/git/repositories/{repo}/branches",
            "request": {"query_params": [{"name": "page", "type": "integer"}, {"name": "q", "required": True}]},
        },
        {
            "method": "POST",
            "path": "/v1/git/repositories/{id}/pull",
            "request": {"body": {"content_type": "none", "fields": []}},
        },
        {"method": "POST", "path": "/v1/docker/containers/{id}/{action}"},
        {
            "method": "POST",
            "path": "/v1/cron-jobs",
            "request": {"body": {"fields": [{"name": "command", "required": True}, {"name": "task_name"}]}},
        },
    ],
}


@pytest.fixture
async def panel(server: RawServer, connect: Connect) -> PanelicaClient:
    panel = connect(dialect="panel")
    server.script(reply(json={"status": "success", "data": CATALOGUE}))
    await panel.spec.load()
    return panel


def test_diff_names_what_differs_between_catalogues() -> None:
    repository, _, *others = CATALOGUE["endpoints"]
    changed = {**repository, "auth": {"scopes": []}, "request": {"body": {"fields": FIELDS[:2]}}}
    after = read_catalogue(
        {"endpoints": [*others, changed, {"method": "GET", "path": "/v1/robots", "summary": "Beep"}]}
    )
    before = read_catalogue(CATALOGUE)
    assert [(one.kind, str(one.endpoint), one.before, one.after) for one in compare(before, after)] == [
        ("new", "GET /v1/robots", "", "Beep"),
        ("gone", "GET /v1/git/repositories/{repo}/branches", "", ""),
        ("scope", "POST /v1/git/repositories", "git:write", "no scope"),
        ("fields", "POST /v1/git/repositories", "", "no visibility"),
    ]
    assert list(compare(before, before)) == []


def test_known_catalogue_has_the_fields_of_current_panels() -> None:
    endpoint = known_catalogue().endpoints["POST /v1/accounts/{}/change-password"]
    assert endpoint.body is not None
    assert endpoint.scopes == ("accounts:write",)


def test_endpoints_are_read() -> None:
    catalogue = read_catalogue(CATALOGUE)
    assert (catalogue.version, catalogue.panel_version, catalogue.unreadable) == ("1.0.0", "1.0.528", 0)
    endpoint = catalogue.endpoints["POST /v1/git/repositories"]
    assert (endpoint.summary, endpoint.scopes) == ("Clone a repository", ("git:write",))
    assert endpoint.body is not None
    assert [(field.name, field.required, field.choices) for field in endpoint.body.values()] == [
        ("url", True, ()),
        ("branch", False, ()),
        ("visibility", False, ("public", "private")),
    ]


def test_actions_written_as_one_path_are_three_endpoints() -> None:
    keys = read_catalogue(CATALOGUE).endpoints.keys()
    assert {f"POST /v1/docker/containers/{{}}/{action}" for action in ("start", "stop", "restart")} <= keys


async def test_load_is_not_signed_and_asks_for_no_dialect(server: RawServer, connect: Connect) -> None:
    server.script(reply(json=CATALOGUE))
    panel = connect(dialect="auto")
    catalogue = await panel.spec.load()
    assert panel.spec.catalogue is catalogue
    assert [request.target for request in server.requests] == ["/api/external/v1/api-spec"]
    assert "X-Signature" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"url": "u", "brnach": "x"},
            r"git\.repositories\.create: this panel takes no field brnach; did you mean branch\?",
        ),
        ({"url": "u", "zzz": 1}, "no field zzz; it takes url, branch, visibility"),
        ({"branch": "main"}, r"git\.repositories\.create: this panel requires url"),
        (
            {"url": "u", "visibility": "publc"},
            r"visibility must be one of public, private, not 'publc'; did you mean public\?",
        ),
    ],
)
async def test_wrong_field_is_refused_before_sending(
    server: RawServer, panel: PanelicaClient, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await panel.git.repositories.create(**fields)
    assert len(server.requests) == 1


async def test_valid_fields_are_sent(server: RawServer, panel: PanelicaClient) -> None:
    await panel.git.repositories.create(url="u", visibility="public")
    assert server.requests[-1].body == b'{"url":"u","visibility":"public"}'


async def test_query_is_checked_too(server: RawServer, panel: PanelicaClient) -> None:
    with pytest.raises(ValueError, match="this panel requires q"):
        await panel.git.repositories.branches.list("r1", page=2)
    with pytest.raises(ValueError, match="takes no field Q"):
        await panel.git.repositories.branches.list("r1", Q="main")
    await panel.git.repositories.branches.list("r1", q="main")
    assert server.requests[-1].target.endswith("?q=main")


async def test_body_for_an_endpoint_without_one_is_refused(server: RawServer, panel: PanelicaClient) -> None:
    with pytest.raises(ValueError, match="this panel takes no fields here, and force was passed"):
        await panel.git.repositories.pull("r1", force=True)
    await panel.git.repositories.pull("r1")
    assert len(server.requests) == 2


async def test_typed_arguments_may_have_unlisted_names(server: RawServer, panel: PanelicaClient) -> None:
    job = await panel.cron_jobs.create(domain_id="d1", task_name="mails", command="php cron.php")
    assert job.task_name == "mails"


async def test_unlisted_endpoint_is_not_checked(server: RawServer, panel: PanelicaClient) -> None:
    await panel.git.repositories.fetch("r1", anything=1)
    assert len(server.requests) == 2


async def test_variants_share_the_loaded_catalogue(server: RawServer, panel: PanelicaClient) -> None:
    with pytest.raises(ValueError, match="requires url"):
        await panel.with_options(timeout=5).git.repositories.create()
    panel.spec.unload()
    await panel.with_options(timeout=5).git.repositories.create()
    assert panel.spec.catalogue is None


async def test_server_without_a_catalogue_is_not_found(server: RawServer, connect: Connect) -> None:
    server.script(reply(404, json={"error": "no such route"}))
    with pytest.raises(NotFoundError):
        await connect().spec.load()


@pytest.mark.parametrize("data", [None, [], "text", {}, {"endpoints": {}}, {"endpoints": [{}] * (MAX_ENDPOINTS + 1)}])
async def test_reply_that_is_no_catalogue_raises(server: RawServer, connect: Connect, data: Any) -> None:
    server.script(reply(json={"status": "success", "data": data}))
    panel = connect(dialect="panel")
    with pytest.raises(DecodeError, match="expected"):
        await panel.spec.load()
    assert panel.spec.catalogue is None


@pytest.mark.parametrize(
    "entry",
    [
        None,
        5,
        {},
        {"method": "GET"},
        {"method": "TRACE", "path": "/v1/x"},
        {"method": "GET", "path": "v1/x"},
        {"method": "GET", "path": "/v1/\x1b[31mx"},
        {"method": "GET", "path": "/" + "x" * 1000},
        {"method": ["GET"], "path": {"a": 1}},
    ],
)
def test_entry_that_is_no_endpoint_is_counted(entry: Any) -> None:
    catalogue = read_catalogue({"endpoints": [entry]})
    assert (dict(catalogue.endpoints), catalogue.unreadable) == ({}, 1)


def test_texts_of_a_catalogue_are_short_and_printable() -> None:
    entry = {
        "method": "get",
        "path": "/api/external/v1/x",
        "summary": "\x1b[31m" + "long " * 1000,
        "auth": {"scopes": ["a:read", "no scope", 5, "\nb:read"]},
        "request": {"query_params": [{"name": "a b"}, {"name": "fine", "enum": [1, "x"]}] * 1000},
    }
    [endpoint] = read_catalogue({"endpoints": [entry]}).endpoints.values()
    assert (endpoint.key, endpoint.scopes) == ("GET /v1/x", ("a:read", "b:read"))
    assert len(endpoint.summary) <= 200
    assert endpoint.summary.isprintable()
    assert endpoint.query is not None
    assert [*endpoint.query] == ["fine"]
    assert endpoint.query["fine"].choices == ("x",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "method",
                    "path",
                    "auth",
                    "scopes",
                    "request",
                    "body",
                    "fields",
                    "name",
                    "enum",
                    "query_params",
                    "response",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"method": st.just("GET"), "path": st.just("/v1/x")},
            optional={
                "auth": JSON,
                "request": JSON,
                "response": JSON,
                "summary": JSON,
                "category": JSON,
                "scopes": JSON,
            },
        )
        | JSON,
        max_size=3,
    )
)
def test_any_json_is_read_or_raises_decode_error(entries: list[Any]) -> None:
    assert read_catalogue({"endpoints": entries}).unreadable <= len(entries)
