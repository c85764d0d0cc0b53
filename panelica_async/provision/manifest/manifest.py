"""`Manifest`: the sites of a file or of Python data, checked, with all problems reported at once."""

import codecs
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self, cast

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.provision.manifest.columns import Reading, Row, Source, interpret
from panelica_async.provision.manifest.fields import as_mapping, is_list, trim
from panelica_async.provision.manifest.sites import ManifestError, Problem, Remark, Site
from panelica_async.provision.manifest.sources import Document, list_of_sites, read_csv, read_json, read_yaml
from panelica_async.provision.manifest.validation import check

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, whose mark it begins with.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF32_BE, "utf-32"),
)
# What spreadsheets and billing systems export as files named `.csv`.
_OTHER_FORMATS = (
    (b"pk\x03\x04", "a spreadsheet (xlsx, ods) or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (xls)"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"{\\rtf", "rich text (RTF)"),
    (b"<html", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<table", "a web page"),
    (b"<?xml", "XML"),
    (b"%pdf", "PDF"),
)
_OWNER_KEYS = ("username", "email", "plan", "password")


@attrs.frozen
class Manifest:
    """Sites to provision, validated: names are unique, values have the right form, and all rows of an owner agree."""

    sites: tuple[Site, ...]
    """The sites in the order of the file."""
    source: Path | None = None
    """File it was loaded from, as an absolute path; None for Python data."""
    ignored_columns: tuple[str, ...] = ()
    """Columns of the file that mean no field, such as a customer number."""
    remarks: tuple[Remark, ...] = ()
    """What is worth knowing but is not a problem."""
    reading: Reading = attrs.field(factory=Reading, eq=False)
    """How the caller wants columns to be read."""

    @classmethod
    def load(
        cls, path: str | Path, *, columns: Mapping[str, str] | None = None, ignore_columns: Iterable[str] = ()
    ) -> Self:
        """Load a manifest from a file.

        Args:
            path: File ending in `.csv`, `.yaml`, `.yml` or `.json`. docs/manifest.md lists the names of columns,
                and describes cells with several entries.
            columns: Fields of columns whose names do not show them, such as `{"Tarif": "plan"}`.
            ignore_columns: Columns to ignore, even if their names or values look like a field.

        Raises:
            ManifestError: The manifest is invalid; the error holds every problem with line and column.
            ConfigurationError: The file cannot be read, has another ending, or needs PyYAML, which is not installed; or
                a field in `columns` is unknown.
        """
        reading = Reading.of(columns, ignore_columns)
        path = Path(path).absolute()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
        name = path.name
        match path.suffix.lower():
            case ".csv":
                source = read_csv(_decode(data, name), name, reading)
            case ".json":
                source = read_data(read_json(_decode(data, name), name), reading)
            case ".yaml" | ".yml":
                source = read_data(read_yaml(_decode(data, name), name), reading)
            case suffix:
                raise ConfigurationError(f"{name}: a manifest ends in .csv, .yaml, .yml or .json, not in {suffix!r}")
        return cls._from_source(source, name, reading, path)

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, object]],
        *,
        columns: Mapping[str, str] | None = None,
        ignore_columns: Iterable[str] = (),
    ) -> Self:
        """Make a manifest from flat rows, such as those of `csv.DictReader` or of a database.

        Args:
            rows: One mapping per site, with keys and values as in a CSV file. Several entries may also be a list.
            columns: Fields of keys, as in `load`.
            ignore_columns: Keys to ignore, as in `load`.

        Raises:
            ManifestError: The manifest is invalid; the lines in the error are the positions of the rows, from 1.
            ConfigurationError: A field in `columns` is unknown.
        """
        reading = Reading.of(columns, ignore_columns)
        return cls._from_source(read_data(Document(enumerate(rows, start=1)), reading), "rows", reading)

    @classmethod
    def from_data(cls, document: object) -> Self:
        """Make a manifest from the parsed content of a YAML or JSON file.

        Raises:
            ManifestError: The manifest is invalid; the lines in the error are the positions of the sites, from 1.
        """
        sites = enumerate(list_of_sites(document, "data"), start=1)
        return cls._from_source(read_data(Document(sites), Reading()), "data", Reading())

    @classmethod
    def _from_source(cls, source: Source, name: str, reading: Reading, path: Path | None = None) -> Self:
        source = source.verified(reading)
        checked = check(source.rows)
        problems = (*checked.problems, *source.problems)
        remarks = (*source.remarks, *checked.remarks)
        if not checked.sites and not problems:
            problems = (Problem(1, "", "the manifest has no sites"),)
        if problems:
            if source.ignored_columns:
                remarks = (Remark(f"columns {', '.join(source.ignored_columns)}", "ignored"), *remarks)
            raise ManifestError(name, problems, remarks)
        return cls(checked.sites, path, source.ignored_columns, remarks, reading)

    @property
    def name(self) -> str:
        """Name of the file, or `manifest`."""
        return self.source.name if self.source else "manifest"

    @property
    def digest(self) -> str:
        """Fingerprint of the sites, in hex. Passwords, lines and ignored columns do not count."""
        sites = [attrs.asdict(site, filter=_is_digested) for site in self.sites]
        return hashlib.sha256(json.dumps(sites, sort_keys=True).encode()).hexdigest()


def _is_digested(attribute: "attrs.Attribute[object]", _value: object) -> bool:
    return attribute.name not in {"password", "line"}


def _decode(data: bytes, name: str) -> str:
    """Return the text of a file: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Raises:
        ManifestError: It is neither; guessing would corrupt names silently.
    """
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if encoding is None:
        encoding, start = "utf-8", data[:64].lstrip().lower()
        other_format = next((description for mark, description in _OTHER_FORMATS if start.startswith(mark)), None)
        if other_format is None and start[:4].strip(b"\0") and b"\0" in start[:4]:
            other_format = "UTF-16 or UTF-32 without a byte order mark"
        if other_format is not None:
            message = f"the file is {other_format}; save it as 'CSV UTF-8' or in UTF-8"
            raise ManifestError(name, [Problem(1, "", message)])
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"not {encoding.removesuffix('-sig').upper()} text; save the file as 'CSV UTF-8' or in UTF-8"
        raise ManifestError(name, [Problem(line, "", message)]) from None


def read_data(document: Document, reading: Reading) -> Source:
    """Read the rows of a document, one for each site.

    Args:
        document: The sites, and the problems found so far.
        reading: How the caller wants the keys to be read.
    """
    rows: list[Row] = []
    ignored: dict[str, None] = {}
    problems = list(document.problems)
    remarks: list[Remark] = []
    names: set[str] = set()
    for line, site in document.sites:
        mapping = as_mapping(site)
        if mapping is None:
            problems.append(Problem(line, "", "a site must be a mapping with 'domain' and 'owner'"))
            continue
        if _has_surplus_cells(site):
            problems.append(Problem(line, "", "has more cells than the header; is a quote missing?"))
            continue
        flat, repeated = _with_flat_owner(mapping)
        problems += (Problem(line, key, "is set both in the site and in its owner") for key in repeated)
        keys = list(flat)
        columns = interpret(keys, reading)
        problems += (Problem(line, *problem) for problem in columns.problems)
        remarks += (Remark.at(line, *remark) for remark in columns.remarks)
        ignored |= dict.fromkeys(columns.ignored)
        names |= flat.keys()
        fields = {field: keys[position] for position, field in columns.fields.items()}
        rows.append(Row(line, {field: _or_none(flat[key]) for field, key in fields.items()}, fields))
    return Source(tuple(rows), tuple(ignored), tuple(problems), tuple(remarks), frozenset(names))


def _has_surplus_cells(site: object) -> bool:
    """Return whether a row has more cells than the header; `csv.DictReader` keeps them under None."""
    surplus: object = cast("Mapping[object, object]", site).get(None) if isinstance(site, Mapping) else None
    return is_list(surplus) and any(isinstance(cell, str) and trim(cell) for cell in surplus)


def _or_none(value: object) -> object:
    """Return a value, or None for NaN: data frames hold it where a cell is empty."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_flat_owner(site: Mapping[str, object]) -> tuple[Mapping[str, object], list[str]]:
    """Return a site with the keys of its owner moved up to its own, and the keys that it has twice then."""
    owner = as_mapping(site.get("owner"))
    if owner is None:
        return site, []
    site_keys = {key: value for key, value in site.items() if key != "owner"}
    owner_keys = {key if key in _OWNER_KEYS else f"owner.{key}": value for key, value in owner.items()}
    return site_keys | owner_keys, sorted(site_keys.keys() & owner_keys.keys())
