"""A manifest of any format gives the same sites; errors and reprs show no password."""

import csv
import json
import math
import pickle
from pathlib import Path

import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.provision.manifest import (
    Database,
    DatabaseUser,
    DnsRecord,
    FtpUser,
    Mailbox,
    Manifest,
    ManifestError,
    Owner,
    Site,
)

HEADER = "domain,username,email,plan,password,php_version,web_server,ssl,dns,databases,mailboxes,ftp_users"
ALDER = Owner(username="alder", email="office@alder.example", plan="Starter")


def write(directory: Path, name: str, content: str | bytes) -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load_csv(directory: Path, *lines: str, header: str = HEADER) -> Manifest:
    return Manifest.load(write(directory, "sites.csv", "\n".join([header, *lines]) + "\n"))


PLAIN = "domain,username,email,plan\nalder.example,alder,office@alder.example,Starter\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PLAIN.encode(), id="plain"),
        pytest.param(PLAIN.encode("utf-8-sig"), id="byte order mark"),
        pytest.param(PLAIN.encode("utf-16"), id="UTF-16"),
        pytest.param("\ufeff".encode("utf-16-be") + PLAIN.encode("utf-16-be"), id="UTF-16, big-endian"),
        pytest.param(PLAIN.encode("utf-32"), id="UTF-32"),
        pytest.param(PLAIN.replace("\n", "\r\n").encode(), id="Windows line ends"),
        pytest.param(PLAIN.replace(",", ";").encode(), id="semicolons"),
        pytest.param(PLAIN.replace(",", "\t").encode(), id="tabs"),
        pytest.param(b"sep=;\r\n" + PLAIN.replace(",", ";").encode(), id="delimiter named in the first line"),
        pytest.param(b"\n,,,\n" + PLAIN.replace("\n", "\n\n , ,,\n").encode(), id="empty lines"),
        pytest.param(
            b"PLAN;Owner E-Mail;User Name;Domain-Name\nStarter;office@alder.example;alder;alder.example",
            id="other names and order",
        ),
        pytest.param(
            b'"Domain";"Customer No";"Account";"E-Mail";"Package"\n'
            b'"ALDER.example.";"10,7";"alder";" office@Alder.Example ";"Starter"',
            id="quoted cells, a column of the hoster's own",
        ),
    ],
)
def test_csv_of_any_dialect_gives_the_same_site(tmp_path: Path, content: bytes) -> None:
    manifest = Manifest.load(write(tmp_path, "sites.csv", content))

    assert manifest.sites == (Site(domain="alder.example", owner=ALDER),)


def test_ignored_columns_are_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    manifest = load_csv(tmp_path, "7,alder.example,alder,Ada Alder,", header="Customer No,domain,username,Contact,")

    assert manifest.ignored_columns == ("Customer No", "Contact")
    assert manifest.sites == (Site(domain="alder.example", owner=Owner(username="alder")),)


def test_full_row_fills_every_field(tmp_path: Path) -> None:
    cells = [
        "alder.example",
        "alder",
        "office@alder.example",
        "Starter",
        "correct-horse",
        "PHP 8.4",
        "nginx+apache",
        "Let's Encrypt",
        '"www A 192.0.2.10 | @ 300 MX 10 Mail.Alder.example.\n@ TXT ""v=spf1 mx; a, -all"""',
        '"shop:first+second:""secret-word""; postgresql/facts"',
        '"info, help::2048 | Sales@alder.example:hunter22"',
        'deploy:"hunter22":/htdocs:500',
    ]
    manifest = load_csv(tmp_path, ",".join(cells))

    assert manifest.sites == (
        Site(
            domain="alder.example",
            owner=Owner(username="alder", email="office@alder.example", plan="Starter", password="correct-horse"),
            php_version="8.4",
            web_server="nginx_apache",
            ssl="lets_encrypt",
            dns=(
                DnsRecord(name="www", type="A", content="192.0.2.10"),
                DnsRecord(name="@", type="MX", content="mail.alder.example", ttl=300, priority=10),
                DnsRecord(name="@", type="TXT", content="v=spf1 mx; a, -all"),
            ),
            databases=(
                Database(
                    name="shop",
                    users=(DatabaseUser(username="first"), DatabaseUser(username="second", password="secret-word")),
                ),
                Database(name="facts", type="postgresql"),
            ),
            mailboxes=(
                Mailbox(local_part="info"),
                Mailbox(local_part="help", quota_mb=2048),
                Mailbox(local_part="sales", password="hunter22"),
            ),
            ftp_users=(FtpUser(username="deploy", password="hunter22", home_directory="/htdocs", quota_mb=500),),
        ),
    )
    assert manifest.sites[0].line == 2


def test_line_numbers_count_line_breaks_inside_cells(tmp_path: Path) -> None:
    manifest = load_csv(tmp_path, 'a.example,a,,,,,,,,,"x\ny\nz",', "", "b.example,b,,,,,,,,,,")

    assert [site.line for site in manifest.sites] == [2, 6]


YAML = """
# A comment
sites:
  - domain: alder.example
    owner: {username: alder, email: office@alder.example, plan: Starter}
    php_version: 8.4
    ssl: yes
    dns:
      - www A 192.0.2.10
      - {name: "@", type: MX, content: mail.alder.example, priority: 10}
    databases:
      - shop:first
      - {name: facts, type: postgresql, users: [{username: reader, privileges: SELECT}, writer]}
    mailboxes: info, help::2048
    ftp_users:
      - username: deploy
        quota_mb: 0

  - domain: beech.example
    owner: beech
"""
DATA = {
    "sites": [
        {
            "domain": "alder.example",
            "owner": {"username": "alder", "email": "office@alder.example", "plan": "Starter"},
            "php_version": "8.4",
            "ssl": True,
            "dns": ["www A 192.0.2.10", {"name": "@", "type": "MX", "content": "mail.alder.example", "priority": 10}],
            "databases": [
                "shop:first",
                {
                    "name": "facts",
                    "type": "postgresql",
                    "users": [{"username": "reader", "privileges": "SELECT"}, "writer"],
                },
            ],
            "mailboxes": ["info", {"local_part": "help", "quota_mb": 2048}],
            "ftp_users": [{"username": "deploy", "quota_mb": 0}],
        },
        {"domain": "beech.example", "owner": "beech"},
    ]
}
SITES = (
    Site(
        domain="alder.example",
        owner=ALDER,
        php_version="8.4",
        ssl="lets_encrypt",
        dns=(
            DnsRecord(name="www", type="A", content="192.0.2.10"),
            DnsRecord(name="@", type="MX", content="mail.alder.example", priority=10),
        ),
        databases=(
            Database(name="shop", users=(DatabaseUser(username="first"),)),
            Database(
                name="facts",
                type="postgresql",
                users=(DatabaseUser(username="reader", privileges="SELECT"), DatabaseUser(username="writer")),
            ),
        ),
        mailboxes=(Mailbox(local_part="info"), Mailbox(local_part="help", quota_mb=2048)),
        ftp_users=(FtpUser(username="deploy", quota_mb=0),),
    ),
    Site(domain="beech.example", owner=Owner(username="beech")),
)


@pytest.mark.parametrize("ending", [".yaml", ".yml", ".YAML"])
def test_yaml_file_gives_the_sites_with_their_lines(tmp_path: Path, ending: str) -> None:
    manifest = Manifest.load(write(tmp_path, f"sites{ending}", YAML))

    assert manifest.sites == SITES
    assert [site.line for site in manifest.sites] == [4, 19]


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        pytest.param(json.dumps(DATA, indent=2), [3, 49], id="indented"),
        pytest.param(json.dumps(DATA["sites"]), [1, 1], id="list alone"),
        pytest.param(json.dumps({"": 0, "about": [{"sites": [1]}], **DATA}), [1, 1], id="other keys before"),
    ],
)
def test_json_file_gives_the_sites_with_their_lines(tmp_path: Path, document: str, lines: list[int]) -> None:
    manifest = Manifest.load(write(tmp_path, "sites.json", document))

    assert manifest.sites == SITES
    assert [site.line for site in manifest.sites] == lines


def test_python_data_gives_the_sites() -> None:
    assert Manifest.from_data(DATA).sites == SITES
    assert Manifest.from_data(DATA).source is None


def test_rows_are_read_like_lines_of_a_file() -> None:
    manifest = Manifest.from_rows(
        [
            {"Domain": "alder.example", "Owner": "alder", "Mailboxes": "info; help"},
            {"Domain": "b.example", "Owner": "b"},
        ]
    )

    assert manifest.sites[0].mailboxes == (Mailbox(local_part="info"), Mailbox(local_part="help"))
    assert [site.line for site in manifest.sites] == [1, 2]


def test_digest_is_equal_for_equal_sites(tmp_path: Path) -> None:
    manifest = load_csv(tmp_path, "alder.example,alder,a@alder.example,,hunter22,8.4,,,,,info:hunter22,")
    respelt = load_csv(
        tmp_path,
        "",
        "x;ALDER.example;alder;a@alder.example;PHP 8.4;info",
        header="No;Domain;Owner;E-Mail;PHP;Mailboxes",
    )
    other = load_csv(tmp_path, "alder.example,alder,a@alder.example,,hunter22,8.3,,,,,info:hunter22,")

    assert manifest.digest == respelt.digest != other.digest
    assert len(manifest.digest) == 64


def test_message_lists_every_problem_and_no_password(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_csv(tmp_path, "a.example,a,a@a.example,,hush,,,,,,info:hush,", "b.example,b,,,,7,,,,,,")

    assert str(caught.value).startswith(
        "sites.csv: 3 problems\n"
        "  line 2, mailboxes: info: password needs at least 8 characters\n"
        "  line 2, password: password needs at least 8 characters\n"
        "  line 3, php_version: '7' is not a PHP version; write it as '8.4'"
    )


def test_error_survives_pickling(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_csv(tmp_path, ",a,,,,,,,,,,")
    copy = pickle.loads(pickle.dumps(caught.value))

    assert (str(copy), copy.problems) == (str(caught.value), caught.value.problems)
    assert isinstance(copy, ConfigurationError)


def test_manifest_file_when_unusable_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        Manifest.load(tmp_path / "none.csv")
    with pytest.raises(ConfigurationError, match=r"ends in \.csv, \.yaml, \.yml or \.json, not in '\.xlsx'"):
        Manifest.load(write(tmp_path, "sites.xlsx", b"PK"))


def test_repr_contains_no_password(tmp_path: Path) -> None:
    manifest = load_csv(tmp_path, "a.example,a,a@a.example,,hunter22-a,,,,,d:u:hunter22-b,m:hunter22-c,f:hunter22-d")

    assert "hunter22" not in repr(manifest)


def test_key_of_the_site_and_its_owner_is_refused() -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_data([{"domain": "a.example", "owner": {"username": "a"}, "username": "b"}])
    (problem,) = caught.value.problems

    assert (problem.column, problem.message) == ("username", "is set both in the site and in its owner")


def test_cells_beyond_the_header_are_a_problem() -> None:
    lines = ["domain,username,mailboxes", "a.example,alder,info, sales", "b.example,beech,info,,", "c.example,cedar"]
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows(csv.DictReader(lines))

    assert [str(problem) for problem in caught.value.problems] == [
        "line 1: has more cells than the header; is a quote missing?"
    ]


def test_nan_in_a_row_is_empty_and_a_whole_float_a_number() -> None:
    row = {"domain": "a.example", "username": "alder", "email": math.nan, "dns": math.nan, "php_version": math.nan}
    mailboxes = [{"local_part": "info", "quota_mb": 1024.0}]
    site = Manifest.from_rows([{**row, "mailboxes": mailboxes}]).sites[0]

    assert (site.owner.email, site.dns, site.php_version) == (None, (), None)
    assert site.mailboxes[0].quota_mb == 1024


def test_single_column_to_ignore_may_be_a_string() -> None:
    manifest = Manifest.from_rows([{"domain": "a.example", "username": "a", "Notes": "x"}], ignore_columns="Notes")

    assert manifest.ignored_columns == ("Notes",)
