"""The contents of a new panel. All guessed: plans, services and server follow the examples of the reference."""

from panelica_async.catalog import SERVICES
from panelica_async.sandbox.store import Store, new_id

ROOT_USERNAME = "root"
HOSTNAME = "server1.example.com"
PHP_VERSIONS = ("7.4", "8.0", "8.1", "8.2", "8.3", "8.4", "8.5")
NAME_SERVERS = (f"ns1.{HOSTNAME}", f"ns2.{HOSTNAME}")

_BOOTED_AT = "booted_at"
# The reference's health check shows an uptime of "10d 5h 30m".
_UPTIME_SECONDS = 10 * 86400 + 5 * 3600 + 30 * 60

# Name, then domains, databases, mailboxes, FTP users, disk space and traffic in MB; -1 is unlimited
# (evidence: plans-unlimited).
_PLANS = (
    ("Starter", 10, 20, 100, 20, 10240, 102400),
    ("Standard", 50, 100, 500, 100, 51200, 512000),
    ("Business", -1, -1, -1, -1, -1, -1),
)
_LIMITS = ("max_domains", "max_databases", "max_email_accounts", "max_ftp_accounts", "disk_space_mb", "bandwidth_mb")
_CLOUDFLARE_ZONES = {
    "023e105f4ecef8ad9ca31a8372d0c353": "example.com",
    "372e67954025e0ba6aaa6d586b9e0b59": "example.org",
}


def seed(store: Store) -> None:
    """Fill a new database: plans, the administrator root, services, Cloudflare zones."""
    now = store.now()
    booted_at = now - _UPTIME_SECONDS
    store.set_setting(_BOOTED_AT, str(booted_at))
    for name, *limits in _PLANS:
        plan = {"id": new_id(), "name": name, "slug": name.lower(), **dict(zip(_LIMITS, limits, strict=True))}
        store.insert("plan", {**plan, "php_versions": list(PHP_VERSIONS), "created_at": now})
    # The list includes administrators, root too (evidence: accounts-list).
    root = {"id": new_id(), "username": ROOT_USERNAME, "email": f"{ROOT_USERNAME}@{HOSTNAME}", "role": "ROOT"}
    store.insert("account", {**root, "created_at": booted_at})
    for number, (name, display_name) in enumerate(SERVICES.items()):
        service = {"name": name, "display_name": display_name, "pid": 1000 + number, "started_at": booted_at}
        store.insert("service", {**service, "status": "running", "cpu_percent": 0.5, "memory_mb": 128})
    for zone_id, name in _CLOUDFLARE_ZONES.items():
        store.insert("cloudflare_zone", {"id": zone_id, "name": name, "status": "active"})


def seed_panel(store: Store) -> None:
    """Add accounts that a client of a current panel must not take for customers (evidence: accounts-list)."""
    for role in ("ADMIN", "RESELLER"):
        username = role.lower()
        # A database that the reference dialect has filled may have an account of this name.
        if store.value("SELECT 1 FROM accounts WHERE role = ? OR username = ?", role, username) is None:
            account = {"id": new_id(), "username": username, "email": f"{username}@{HOSTNAME}", "role": role}
            store.insert("account", {**account, "full_name": role.title(), "created_at": store.now()})


def root_id(store: Store) -> str:
    """Return the id of the administrator root."""
    return str(store.value("SELECT id FROM accounts WHERE username = ?", ROOT_USERNAME))


def uptime(store: Store) -> int:
    """Return the seconds since the server was started."""
    return store.now() - int(store.setting(_BOOTED_AT) or store.now())
