"""Headers of real exports: the meaning of each column, and how the caller may set it."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.provision import Manifest, ManifestError
from panelica_async.provision.manifest.columns import FIELDS, Reading, interpret


def load(directory: Path, header: str, *rows: str, **reading: Any) -> Manifest:
    path = directory / "export.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return Manifest.load(path, **reading)


def problems(directory: Path, header: str, *rows: str, **reading: Any) -> list[tuple[str, str]]:
    with pytest.raises(ManifestError) as caught:
        load(directory, header, *rows, **reading)
    return [(problem.column, problem.message) for problem in caught.value.problems]


def meaning(header: str, reading: Reading | None = None) -> Mapping[str, str]:
    names = header.split(",")
    return {names[position]: field for position, field in interpret(names, reading or Reading()).fields.items()}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "Domain,IP,User,Owner,Email,Package,Theme,Server,Setup Date",
            {"Domain": "domain", "User": "username", "Email": "email", "Package": "plan", "Server": "web_server"},
        ),
        ("host,username,password,domain", {"username": "username", "password": "password", "domain": "domain"}),
        ("Account Name,User Name,Site", {"User Name": "username", "Site": "domain"}),
        ("Client Email,Domain,Login", {"Client Email": "email", "Domain": "domain", "Login": "username"}),
        ("Customer E-Mail,Website,Account", {"Customer E-Mail": "email", "Website": "domain", "Account": "username"}),
        ("Hosting Package,Domain,User", {"Hosting Package": "plan", "Domain": "domain", "User": "username"}),
        ("Domain,User,DNS Zone", {"Domain": "domain", "User": "username", "DNS Zone": "dns"}),
        ("Email,Email2,Email Address 2,Mailbox 1", {"Email": "email"}),
        ("Domain,Users,Accounts,Domains,Plans", {"Domain": "domain"}),
        ("username,domain,ndomains,nemails,num_databases", {"username": "username", "domain": "domain"}),
        ("domain,domainId,user_ids,siteID", {"domain": "domain"}),
        (
            "domainName,userName,PHPVersion",
            {"domainName": "domain", "userName": "username", "PHPVersion": "php_version"},
        ),
        ("FQDN,AccountName,adminEmail", {"FQDN": "domain", "AccountName": "username", "adminEmail": "email"}),
        (
            "Domain Name,Username,Product/Service",
            {"Domain Name": "domain", "Username": "username", "Product/Service": "plan"},
        ),
    ],
)
def test_headers_of_exports_are_understood(header: str, expected: dict[str, str]) -> None:
    assert meaning(header) == expected
    assert interpret(header.split(",")).problems == ()


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("Domain,Owner,Account", ("Account", "means 'username', and so does 'Owner'; ignore one with --ignore-column")),
        ("Domain,User,Domain", ("Domain", "appears twice; rename or remove one")),
        ("Domain,domain", ("domain", "means 'domain', and so does 'Domain'; ignore one with --ignore-column")),
        (
            "Email Address,Contact Email",
            ("Contact Email", "means 'email', and so does 'Email Address'; ignore one with --ignore-column"),
        ),
        ("usrname", ("usrname", "unknown column; did you mean 'username'? If not, ignore it with --ignore-column")),
        ("Mailboxs", ("Mailboxs", "unknown column; did you mean 'mailboxes'? If not, ignore it with --ignore-column")),
    ],
)
def test_ambiguous_header_is_a_problem(header: str, problem: tuple[str, str]) -> None:
    assert interpret(header.split(",")).problems == (problem,)


def test_column_that_yields_to_another_has_a_remark(tmp_path: Path) -> None:
    manifest = load(tmp_path, "Domain,User,Owner", "a.example,a,reseller")

    assert manifest.ignored_columns == ("Owner",)
    assert [str(remark) for remark in manifest.remarks] == [
        "line 1, Owner: ignored because 'User' means 'username' more clearly"
    ]


def test_status_of_an_ended_service_is_remarked(tmp_path: Path) -> None:
    rows = ("a.example,a,Active", "b.example,b,Terminated", "c.example,c,CANCELLED", "d.example,d,")
    text = "the site is created although its status is {}; remove the row if that is not wanted"
    for status in ("Status", "Domain Status"):
        manifest = load(tmp_path, f"Domain,User,{status}", *rows)
        assert (len(manifest.sites), manifest.ignored_columns) == (4, (status,))
        assert [str(remark) for remark in manifest.remarks] == [
            f"line 3, {status} b.example: {text.format('Terminated')}",
            f"line 4, {status} c.example: {text.format('CANCELLED')}",
        ]
        assert load(tmp_path, f"Domain,User,{status}", *rows, ignore_columns=[status]).remarks == ()
    data = Manifest.from_data([{"domain": "a.example", "owner": "a", "status": "Suspended"}])
    assert [remark.where for remark in data.remarks] == ["line 1, status a.example"]


def test_server_column_of_machines_is_ignored(tmp_path: Path) -> None:
    machines = load(tmp_path, "Domain,User,Server", "a.example,a,srv1.host.example", "b.example,b,")
    servers = load(tmp_path, "Domain,User,Server", "a.example,a,nginx", "b.example,b,Apache")

    assert ([site.web_server for site in machines.sites], machines.ignored_columns) == ([None, None], ("Server",))
    assert ([site.web_server for site in servers.sites], servers.ignored_columns) == (["nginx", "apache"], ())


@pytest.mark.parametrize("header", ["Domain,User,Web Server", "Domain,User,web_server"])
def test_web_server_when_unknown_is_a_problem(tmp_path: Path, header: str) -> None:
    ((_, message),) = problems(tmp_path, header, "a.example,a,srv1")

    assert "'srv1' is not one of nginx" in message


def test_server_column_that_the_caller_maps_is_read(tmp_path: Path) -> None:
    ((column, _),) = problems(tmp_path, "Domain,User,Server", "a.example,a,srv1", columns={"server": "web_server"})

    assert column == "Server"


@pytest.mark.parametrize(
    ("header", "row", "column", "field"),
    [
        ("Domain,Account Name,Email", "{}.example,{} Company Ltd,o@{}.example", "Account Name", "username"),
        ("Host,User,Email", "srv-{},u{},o@{}.example", "Host", "domain"),
    ],
)
def test_unrelated_column_is_reported_once(tmp_path: Path, header: str, row: str, column: str, field: str) -> None:
    rows = [row.replace("{}", f"s{number}") for number in range(50)]

    ((found, message),) = problems(tmp_path, header, *rows)

    assert found == column
    assert message.startswith("'s")
    assert message.endswith(f"; no row has a valid one; if another column has it, name it with --column NAME={field}")


@pytest.mark.parametrize("column", ["Databases", "Emails", "FTP Accounts", "Records"])
def test_column_of_counts_is_not_mistaken_for_names(tmp_path: Path, column: str) -> None:
    header = f"Domain,User,{column}"

    assert problems(tmp_path, header, "a.example,a,3", "b.example,b,0") == [
        (
            column,
            "holds only numbers, like a count; ignore it with --ignore-column, or put numeric names in quotes",
        )
    ]
    assert load(tmp_path, header, "a.example,a,3", ignore_columns=[column]).ignored_columns == (column,)


def test_numeric_mailbox_in_quotes_is_read(tmp_path: Path) -> None:
    (site,) = load(tmp_path, "Domain,User,Mailboxes", 'a.example,a,"""2024"""').sites

    assert [mailbox.local_part for mailbox in site.mailboxes] == ["2024"]


@pytest.mark.parametrize("name", ["Tarif", "tarif", "TARIF "])
@pytest.mark.parametrize("field", ["plan", "Hosting Plan", "package"])
def test_column_that_the_caller_maps_is_read(tmp_path: Path, name: str, field: str) -> None:
    header = "Domain,User,Email,Plan,Tarif"
    (site,) = load(tmp_path, header, "a.example,a,a@a.example,Old,Gold", columns={name: field}).sites

    assert site.owner.plan == "Gold"


def test_similar_columns_are_distinguished_by_exact_spelling(tmp_path: Path) -> None:
    header, row = "Domain,User,E-Mail,Email", "a.example,a,old@a.example,new@a.example"

    for reading in ({"ignore_columns": ["E-Mail"]}, {"columns": {"Email": "email"}}):
        assert load(tmp_path, header, row, **reading).sites[0].owner.email == "new@a.example"


def test_from_rows_takes_the_same_options_as_load() -> None:
    manifest = Manifest.from_rows(
        [{"Domain": "a.example", "Kunde": "a", "Owner": "reseller"}],
        columns={"Kunde": "username"},
        ignore_columns=["owner"],
    )

    assert manifest.sites[0].owner.username == "a"
    assert manifest.reading == Reading({"Kunde": "username"}, ("owner",))


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"columns": {"Tarif": "tarif"}}, "column 'Tarif' cannot be read as 'tarif': a site has no such field"),
        ({"columns": {"Tarif": "plan"}, "ignore_columns": ["tarif"]}, "cannot be both read as 'plan' and ignored"),
    ],
)
def test_reading_when_contradictory_is_refused(tmp_path: Path, reading: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, "Domain,User,Tarif", "a.example,a,Gold", **reading)


@pytest.mark.parametrize("reading", [{"columns": {"Tariff": "plan"}}, {"ignore_columns": ["Tariff"]}])
def test_named_column_when_missing_is_a_problem(tmp_path: Path, reading: Any) -> None:
    found = problems(tmp_path, "Domain,User,Email,Tarif", "a.example,a,a@a.example,Gold", **reading)

    assert found == [("Tariff", "there is no such column")]


def test_ignored_columns_are_reported_with_the_problems(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, "Domain,User,Notes,Colour", "bad,a,x,y")

    assert "note: columns Notes, Colour: ignored" in str(caught.value)


def test_only_the_first_hundred_unknown_columns_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison with all known names takes a millisecond."""
    compared: list[str] = []

    def note(key: str, *_: object, **__: object) -> list[str]:
        compared.append(key)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", note)
    names = [f"emaill address number {number} of the customer" for number in range(3000)]
    manifest = load(tmp_path, ",".join(["domain", "username", *names]), "a.example,a")
    assert len(manifest.ignored_columns) == 3000
    assert sum(key.startswith("emaill") for key in compared) == 100


def test_no_name_means_two_fields() -> None:
    names = [name for field, others in FIELDS.items() for name in (field, *others)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [name for field, others in FIELDS.items() for name in (field, *others)])
def test_every_known_name_is_understood(name: str) -> None:
    spelt = name.replace("_", " ").title()

    assert list(interpret([spelt]).fields) == [0]


@pytest.mark.parametrize(
    "name",
    [
        "Customer No",
        "Notes",
        "Invoice",
        "IP",
        "Created",
        "Address",
        "Status",
        "Language",
        "Country",
        "Email2",
        "Email Address 2",
        "Users",
        "Accounts",
        "Domains",
        "Mailbox 1",
    ],
)
def test_hosters_own_columns_are_not_misspellings(name: str) -> None:
    assert interpret([name]).ignored == (name,)
