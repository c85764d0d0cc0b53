"""DNS records of a manifest: names in any alphabet, text as in a zone file, what cannot stand together."""

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.provision import DnsRecord, Manifest, ManifestError
from panelica_async.provision.manifest import dns
from panelica_async.provision.manifest.entries import split
from panelica_async.provision.manifest.fields import InvalidValueError


def quoted(text: str) -> str:
    """Write text as a zone file does."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=' "\\;()|'), min_size=1)


def read(entry: str, domain: str = "example.com") -> DnsRecord:
    return dns.check_record(**{"ttl": None, "priority": None, **dns.read_record(entry)}, domain=domain)  # type: ignore[arg-type]


def manifest_of(*entries: str) -> Manifest:
    return Manifest.from_rows([{"domain": "a.example", "username": "alder", "dns": list(entries)}])


def problems(*entries: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        manifest_of(*entries)
    return [problem.message for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("müller.example", "@"),
        ("MÜLLER.example.", "@"),
        ("www.müller.example", "www"),
        ("www.müller.example.", "www"),
        ("www。müller。example", "www"),
        ("*.müller.example", "*"),
        ("*.shop.müller.example", "*.shop"),
        ("www.xn--mller-kva.example", "www"),
        ("_dmarc.müller.example", "_dmarc"),
        ("_dmarc.shöp", "_dmarc.xn--shp-tna"),
        ("shöp_1", "xn--shp_1-kua"),
        ("_25._tcp.mail.müller.example", "_25._tcp.mail"),
        ("other.example", "other.example"),
        ("xmüller.example", "xn--xmller-4ya.example"),
        ("@", "@"),
    ],
)
def test_name_in_the_alphabet_of_its_zone_is_relative(name: str, expected: str) -> None:
    domain = "xn--mller-kva.example"

    assert read(f"{name} A 192.0.2.1", domain).name == expected
    assert dns.identity(name, "A", "192.0.2.1", domain)[0] == expected


@pytest.mark.parametrize("name", ["www.bücher.example.", "_dmarc.bücher.example."])
def test_complete_name_of_another_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match=r"is outside xn--mller-kva\.example"):
        read(f"{name} A 192.0.2.1", "xn--mller-kva.example")


@pytest.mark.parametrize(("label", "is_fine"), [("a" * 63, True), ("a" * 64, False)])
def test_label_may_have_63_characters(label: str, is_fine: bool) -> None:
    if is_fine:
        assert read(f"{label} A 192.0.2.1").name == label
    else:
        with pytest.raises(InvalidValueError):
            read(f"{label} A 192.0.2.1")


@pytest.mark.parametrize(("length", "is_fine"), [(253, True), (254, False)])
def test_name_may_have_253_characters_with_its_zone(length: int, is_fine: bool) -> None:
    name = ("a" * 49 + ".") * 4 + "a" * (length - 4 * 50 - len(".example.com"))
    if is_fine:
        assert read(f"{name} A 192.0.2.1").name == name
    else:
        with pytest.raises(InvalidValueError, match="at most 253 characters"):
            read(f"{name} A 192.0.2.1")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (r'"v=DMARC1\; p=none\; rua=mailto:d@a.example"', "v=DMARC1; p=none; rua=mailto:d@a.example"),
        (r"v=DMARC1\; p=none", "v=DMARC1; p=none"),
        (r"v=DMARC1\059 p=none", "v=DMARC1; p=none"),
        ('("v=DKIM1; k=rsa; " "p=MIIB" "kqhk")', "v=DKIM1; k=rsa; p=MIIBkqhk"),
        ('( "v=DKIM1; "\n  "p=MIIB" ) ; key of 2024', "v=DKIM1; p=MIIB"),
        ('"p=C" ; key of 2024', "p=C"),
        ('"p=C";key of 2024', "p=C"),
        (r'"he said \"hi\""', 'he said "hi"'),
        ('he said "hi"', 'he said "hi"'),
        (r'"C:\\temp"', r"C:\temp"),
        (r'"\195\188"', "ü"),
        ('"a; b" "c"', "a; bc"),
        ('"one""two"', "onetwo"),
        ("v=spf1 -all", "v=spf1 -all"),
        ("v=DMARC1; p=none", "v=DMARC1; p=none"),
        ("(single)", "single"),
    ],
)
def test_text_is_read_as_in_a_zone_file(content: str, expected: str) -> None:
    assert read(f"x TXT {content}").content == expected
    by_key = Manifest.from_rows(
        [{"domain": "a.example", "username": "a", "dns": [{"name": "x", "type": "TXT", "content": content}]}]
    )
    assert by_key.sites[0].dns[0].content == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"v=spf1 -all', "a quote is opened but never closed"),
        ('"v=spf1" -all', "text outside its quotes"),
        ("(v=spf1 -all)", "text outside its quotes"),
        ('( "a" "b"', "a parenthesis is opened but never closed"),
        ('"a" )', "a parenthesis is closed but was never opened"),
        ('"\\256"', "a number from 000 to 255"),
        ("a\\25", "a number from 000 to 255"),
        ("a\\", "a number from 000 to 255"),
        ('"\\195"', "not UTF-8 text"),
        ('""', "TXT record has no content"),
        ("\u201cv=spf1 -all\u201d", "quotes must be straight"),
        ("'v=spf1 -all'", "quotes must be straight"),
        ('"a\\010b"', "contains U\\+000A LINE FEED as character 2"),
    ],
)
def test_text_when_malformed_is_refused(content: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        read(f"x TXT {content}")


@given(st.lists(TEXT, min_size=1, max_size=4), st.booleans(), st.sampled_from([" ", "\n", "\t ; a comment\n"]))
def test_quoted_text_is_read_back_whole(parts: list[str], grouped: bool, between: str) -> None:
    content = between.join(quoted(part) for part in parts)

    assert dns.read_text(f"({content})" if grouped else content) == "".join(parts)


@given(TEXT)
@example('a "b" | c; d (e')
def test_quoted_text_stays_in_one_record_of_a_cell(text: str) -> None:
    entry = f"x TXT {quoted(text)}"

    assert dns.split_records(f"a A 192.0.2.1 | {entry} | b A 192.0.2.2") == [
        "a A 192.0.2.1",
        entry,
        "b A 192.0.2.2",
    ]


def identity_of_text(content: str) -> object:
    return dns.identity("@", "TXT", content, "a.example")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read_it in (dns.read_text, dns.on_one_line, dns.split_records, identity_of_text):
        with contextlib.suppress(InvalidValueError):
            read_it(text)


def test_line_breaks_within_parentheses_do_not_end_a_record() -> None:
    cell = 'www A 192.0.2.1\nk._domainkey TXT ( "v=DKIM1; "\n  "p=abc" )\nmail A 192.0.2.2'

    assert len(dns.split_records(cell)) == 3


def test_parenthesis_in_text_does_not_swallow_records() -> None:
    assert dns.split_records("a TXT he said (\nb A 192.0.2.1") == ["a TXT he said (", "b A 192.0.2.1"]


def test_comment_line_is_not_a_record() -> None:
    assert dns.split_records("; the website\nwww A 192.0.2.1\n\n; the end") == ["www A 192.0.2.1"]


def test_open_quote_names_its_record() -> None:
    with pytest.raises(InvalidValueError, match="record 2 opens a quote that is never closed"):
        dns.split_records('a A 192.0.2.1 | b TXT "v=spf1 | c A 192.0.2.2')


@pytest.mark.parametrize(
    "listed",
    [
        "v=DKIM1; p=" + "A" * 400,
        '"v=DKIM1; p=' + "A" * 400 + '"',
        '"v=DKIM1; p=' + "A" * 243 + '" "' + "A" * 157 + '"',
        r"v=DKIM1\; p=" + "A" * 400,
    ],
)
def test_listed_text_is_the_same_in_every_spelling(listed: str) -> None:
    wanted = read("k._domainkey TXT v=DKIM1; p=" + "A" * 400)

    assert dns.identity("K._domainkey", "txt", listed, "example.com") == (wanted.name, "TXT", wanted.content)


@pytest.mark.parametrize("listed", ["0 issue ca.example; account=7", '0 issue "ca.example; account=7"'])
def test_listed_caa_is_the_same_in_every_spelling(listed: str) -> None:
    wanted = read('@ CAA 0 ISSUE "ca.example; account=7"')

    assert dns.identity("example.com.", "CAA", listed, "example.com") == ("@", "CAA", wanted.content)


@pytest.mark.parametrize(("kind", "content"), [("CNAME", "192.0.2.1"), ("A", "nowhere"), ("CAA", "issue"), ("X", "y")])
def test_invalid_listed_record_keeps_its_name(kind: str, content: str) -> None:
    assert dns.identity("WWW.example.com.", kind, content, "example.com") == ("www", kind, content)


@pytest.mark.parametrize("listed", ['"not closed', '"a" b', "back\\slash", 'he said "hi"'])
def test_invalid_listed_text_stays_unchanged(listed: str) -> None:
    assert dns.identity("x", "TXT", listed, "example.com")[2] == listed


@pytest.mark.parametrize(
    ("entry", "ttl", "content"),
    [
        ("www 300 A 192.0.2.1", 300, "192.0.2.1"),
        ("www IN 300 A 192.0.2.1", 300, "192.0.2.1"),
        ("www 300 IN A 192.0.2.1", 300, "192.0.2.1"),
        ("www in A 192.0.2.1", None, "192.0.2.1"),
        ("www 1h A 192.0.2.1", 3600, "192.0.2.1"),
        ("www IN 1W2d A 192.0.2.1", 777_600, "192.0.2.1"),
        ("www 1h30m A 192.0.2.1 ; the old server", 5400, "192.0.2.1"),
        ("@ MX ( 10 mail.example.com. )", None, "mail.example.com"),
        ('@ CAA 0 issue "ca.example; account=7" ; ours', None, '0 issue "ca.example; account=7"'),
        ("5 PTR host.example.com", None, "host.example.com"),
    ],
)
def test_entry_is_read_as_in_a_zone_file(entry: str, ttl: int | None, content: str) -> None:
    assert (read(entry).ttl, read(entry).content) == (ttl, content)


@pytest.mark.parametrize("ttl", ["1h", "3600", 3600])
def test_ttl_of_a_mapping_may_have_units(ttl: object) -> None:
    entry = {"name": "www", "type": "A", "content": "192.0.2.1", "ttl": ttl}

    assert Manifest.from_rows([{"domain": "a.example", "username": "a", "dns": [entry]}]).sites[0].dns[0].ttl == 3600


@pytest.mark.parametrize("ttl", ["1y", "0s", "h", "9" * 5000, "9" * 30 + "w", "1h3"])
def test_ttl_when_invalid_is_refused(ttl: str) -> None:
    entry = {"name": "www", "type": "A", "content": "192.0.2.1", "ttl": ttl}

    with pytest.raises(ManifestError, match="ttl must be a whole number"):
        Manifest.from_rows([{"domain": "a.example", "username": "a", "dns": [entry]}])


@pytest.mark.parametrize("entry", ["@ MX 0 .", "_imap._tcp SRV 0 0 0 ."])
def test_srv_record_without_a_service_is_accepted(entry: str) -> None:
    assert read(entry).content.split()[-1] == "."


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("@ MX 10 .", r"write the MX record for no mail as '@ MX 0 \.'"),
        ("www CNAME .", "'.' is not a host name"),
        ("www CNAME 192.0.2.1", "is an IP address"),
        ("@ MX 10 192.0.2.1.", "is an IP address"),
        ("@ MX 10 2001:db8::1", "is an IP address"),
        ("sub NS 192.0.2.1", "is an IP address"),
        ("_s._tcp SRV 0 0 443 [2001:db8::1]", "is an IP address"),
        ("5 PTR ::1", "is an IP address"),
        ("www CNAME 192.0.2", "is not a host name"),
        ("m CNAME m.example.com", "the CNAME points to itself"),
        ("m.example.com. CNAME M.example.com.", "the CNAME points to itself"),
        ("fe AAAA fe80::1%eth0", "is an address of one network interface"),
        ("@ CAA 0 issue ca.example; x=y", "CAA record must look like"),
    ],
)
def test_target_when_invalid_is_refused(entry: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        read(entry)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["www CNAME b.example", "www A 192.0.2.1"], "www: a CNAME cannot have another record beside it"),
        (["www A 192.0.2.1", "www.a.example. CNAME b.example"], "www: a CNAME cannot have another record beside it"),
        (["w CNAME b.example", "w CNAME c.example"], "w: a name can have only one CNAME"),
        (["@ TXT v=spf1 -all", "a.example TXT v=spf1 mx -all"], "@: a name can have only one SPF record"),
        (
            ["_dmarc TXT v=DMARC1; p=none", '_dmarc TXT "V=dmarc1; p=reject"'],
            "_dmarc: a name can have only one DMARC record",
        ),
        (["k._domainkey TXT p=a", "k._domainkey TXT p=b"], "k._domainkey: a name can have only one DKIM record"),
        (["@ MX 0 .", "@ MX 10 m.b.example"], "@: a null MX, which means no mail"),
        (["t 60 A 192.0.2.1", "t 90 A 192.0.2.2"], "t: the A records have different TTLs, 60 and 90"),
        (["x CNAME y.a.example", "y CNAME x.a.example"], "the CNAMEs x.a.example -> y.a.example -> x.a.example form"),
    ],
)
def test_records_that_contradict_each_other_are_refused(entries: list[str], message: str) -> None:
    found = problems(*entries)

    assert len(found) == 1
    assert found[0].startswith(message)


def test_records_that_may_coexist_are_accepted() -> None:
    manifest = manifest_of(
        "@ TXT v=spf1 -all",
        "@ TXT v=spf10 is none",
        "@ TXT site-verification=1",
        "sub TXT v=spf1 -all",
        "@ 60 A 192.0.2.1",
        "@ 90 AAAA 2001:db8::1",
        "two 60 A 192.0.2.1",
        "two A 192.0.2.2",
        "@ MX 10 m.a.example",
        "m A 192.0.2.1",
        "x CNAME y.a.example",
        "y CNAME z.a.example",
        "* CNAME a.example",
    )

    assert len(manifest.sites[0].dns) == 13
    assert manifest.remarks == ()


def test_mail_server_that_is_an_alias_has_a_remark() -> None:
    (remark,) = manifest_of("@ MX 10 mail.a.example", "mail CNAME mail.b.example").remarks

    assert str(remark) == (
        "line 1, dns @ MX mail.a.example: the mail or name server is itself a CNAME, which some servers refuse"
    )


def test_name_server_that_is_an_alias_has_a_remark() -> None:
    (remark,) = manifest_of("sub NS ns.a.example", "ns CNAME ns.b.example").remarks

    assert remark.where == "line 1, dns sub NS ns.a.example"


@pytest.mark.parametrize("issuer", ["bücher.example", '"BÜCHER.example"', "xn--bcher-kva.example"])
def test_caa_issuer_is_a_host_name(issuer: str) -> None:
    assert manifest_of(f"@ CAA 0 issue {issuer}").sites[0].dns[0].content == '0 issue "xn--bcher-kva.example"'


def test_caa_issuer_keeps_its_parameters() -> None:
    records = manifest_of('@ CAA 0 issue "CA.example; Policy=EV"', '@ CAA 0 issuewild ";"').sites[0].dns

    assert [record.content for record in records] == ['0 issue "ca.example; Policy=EV"', '0 issuewild ";"']


def test_caa_issuer_when_invalid_is_refused() -> None:
    with pytest.raises(ManifestError, match="is not a host name"):
        manifest_of('@ CAA 0 issue "Let\'s Encrypt"')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("$TTL 3600", "directive $TTL is not supported"),
        ("$origin a.example.", "directive $origin is not supported"),
        ("@ IN SOA ns1.a.example. host.a.example. ( 1 2 3 4 5 )", "the panel writes the SOA record of a zone itself"),
    ],
)
def test_zone_file_directive_is_explained(line: str, message: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        manifest_of(line, "www A 192.0.2.1")


@pytest.mark.parametrize("kind", ["A", "AAAA", "MX 10", "CAA", "NS"])
def test_very_long_value_is_shortened(kind: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest_of(f"@ {kind} {'x' * 5000}!")
    assert len(str(caught.value)) < 600


RECORDS = [
    ("www A 192.0.2.1", ("www", "A", "192.0.2.1", None, None)),
    ("WWW.Example.com. a 192.0.2.1", ("www", "A", "192.0.2.1", None, None)),
    ("example.com 60 IN A 192.0.2.1", ("@", "A", "192.0.2.1", 60, None)),
    ("@ AAAA 2001:DB8:0:0::1", ("@", "AAAA", "2001:db8::1", None, None)),
    ("*.shop CNAME @", ("*.shop", "CNAME", "example.com", None, None)),
    ("* CNAME Target.Example.net.", ("*", "CNAME", "target.example.net", None, None)),
    ("@ MX 0 mail.example.com", ("@", "MX", "mail.example.com", None, 0)),
    ("_dmarc TXT v=DMARC1; p=none", ("_dmarc", "TXT", "v=DMARC1; p=none", None, None)),
    ('@ TXT "v=spf1 -all"', ("@", "TXT", "v=spf1 -all", None, None)),
    ('@ TXT "one" "two"', ("@", "TXT", "onetwo", None, None)),
    (
        "k._domainkey 300 CNAME k._domainkey.mail.example",
        ("k._domainkey", "CNAME", "k._domainkey.mail.example", 300, None),
    ),
    ("_sip._tcp SRV 10 5 5060 Sip.example.com", ("_sip._tcp", "SRV", "5 5060 sip.example.com", None, 10)),
    ("@ CAA 0 issue letsencrypt.org", ("@", "CAA", '0 issue "letsencrypt.org"', None, None)),
    ('@ CAA 128 ISSUEWILD ";"', ("@", "CAA", '128 issuewild ";"', None, None)),
    ("sub NS ns1.example.net", ("sub", "NS", "ns1.example.net", None, None)),
    ("5 PTR host.example.com", ("5", "PTR", "host.example.com", None, None)),
]


@pytest.mark.parametrize(("entry", "expected"), RECORDS, ids=[entry for entry, _ in RECORDS])
def test_record_in_any_notation_is_read(entry: str, expected: tuple[str, str, str, int | None, int | None]) -> None:
    read = {"ttl": None, "priority": None, **dns.read_record(entry)}
    record = dns.check_record(**read, domain="example.com")

    assert (record.name, record.type, record.content, record.ttl, record.priority) == expected
    assert dns.identity(record.name, record.type, record.content, "example.com") == expected[:3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("www", "CNAME", "shop.example.com"), ("WWW.example.com.", "cname", "Shop.Example.com.")),
        (("@", "TXT", "v=spf1 -all"), ("example.com", "TXT", '"v=spf1 -all"')),
        (("@", "AAAA", "2001:db8::1"), ("", "AAAA", "2001:0db8:0::0001")),
        (("@", "X-NEW", "anything"), ("@", "x-new", "anything")),
    ],
)
def test_record_is_the_same_in_every_spelling(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert dns.identity(*one, "example.com") == dns.identity(*other, "example.com")


@given(
    st.lists(st.sampled_from([entry for entry, _ in RECORDS]), max_size=5), st.sampled_from(["|", "\n", " | ", "\r\n"])
)
def test_semicolons_in_quotes_do_not_split_records(entries: list[str], separator: str) -> None:
    assert split("dns", separator.join(entries)) == entries
