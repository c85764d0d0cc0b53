"""The manifest: the sites an operator asks for, read from CSV, YAML, JSON or Python data, and checked as a whole.

`sources` turns files into rows of raw values, and `manifest` does the same with Python data. `columns` knows which name
means which field. `validation` turns the rows into `sites` and collects every problem. `fields` checks single values,
`entries` the entries of a list, and `dns` the records of a zone.
"""

from panelica_async.provision.manifest.columns import Reading
from panelica_async.provision.manifest.manifest import Manifest
from panelica_async.provision.manifest.sites import (
    ALL,
    Database,
    DatabaseUser,
    DnsRecord,
    FtpUser,
    Mailbox,
    ManifestError,
    Owner,
    Problem,
    Remark,
    Site,
)

__all__ = [
    "ALL",
    "Database",
    "DatabaseUser",
    "DnsRecord",
    "FtpUser",
    "Mailbox",
    "Manifest",
    "ManifestError",
    "Owner",
    "Problem",
    "Reading",
    "Remark",
    "Site",
]
