-- The state of the panel. A table has the name of its kind with an s; times are Unix seconds.
-- Values that depend on the clock are not stored: views.sql computes them.

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE plans (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    slug TEXT NOT NULL,
    max_domains INTEGER,
    max_databases INTEGER,
    max_email_accounts INTEGER,
    max_ftp_accounts INTEGER,
    disk_space_mb INTEGER,
    bandwidth_mb INTEGER,
    php_versions TEXT NOT NULL,  -- JSON
    columns TEXT NOT NULL DEFAULT '{}',  -- JSON: fields that only current panels have
    created_at INTEGER NOT NULL
);

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL COLLATE NOCASE UNIQUE,
    full_name TEXT,
    role TEXT NOT NULL,
    plan_id TEXT REFERENCES plans (id),
    suspended INTEGER NOT NULL DEFAULT 0,
    suspend_reason TEXT,
    created_at INTEGER NOT NULL
);
CREATE INDEX accounts_plan ON accounts (plan_id);

-- A domain is its own DNS zone (evidence: dns-zones).
CREATE TABLE domains (
    id TEXT PRIMARY KEY,
    domain TEXT NOT NULL COLLATE NOCASE UNIQUE,
    user_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    php_version TEXT NOT NULL,
    web_server TEXT NOT NULL,
    document_root TEXT NOT NULL,
    php_settings TEXT NOT NULL DEFAULT '{}',  -- JSON: only current panels have them
    suspended INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE INDEX domains_user ON domains (user_id);

CREATE TABLE dns_records (
    id TEXT PRIMARY KEY,
    zone_id TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name TEXT NOT NULL COLLATE NOCASE,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    ttl INTEGER NOT NULL,
    priority INTEGER,
    UNIQUE (zone_id, name, type, content)
);

CREATE TABLE certificates (
    id TEXT PRIMARY KEY,
    domain_id TEXT NOT NULL UNIQUE REFERENCES domains (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    issuer TEXT NOT NULL,
    auto_renew INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,    -- when the latest order is issued
    valid_from INTEGER NOT NULL,  -- when the site is first served with it
    expires_at INTEGER NOT NULL
);

CREATE TABLE databases (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    domain_id TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    size_mb REAL NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    UNIQUE (name, type)
);
CREATE INDEX databases_domain ON databases (domain_id);

CREATE TABLE database_users (
    id TEXT PRIMARY KEY,
    database_id TEXT NOT NULL REFERENCES databases (id) ON DELETE CASCADE,
    username TEXT NOT NULL,
    privileges TEXT NOT NULL,
    is_primary INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (database_id, username)
);

CREATE TABLE email_accounts (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL COLLATE NOCASE UNIQUE,
    domain_id TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    quota_mb INTEGER NOT NULL,
    used_mb REAL NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE INDEX email_accounts_domain ON email_accounts (domain_id);

CREATE TABLE ftp_accounts (
    id TEXT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    domain_id TEXT REFERENCES domains (id) ON DELETE CASCADE,  -- current panels: NULL if the home belongs to no domain
    home_directory TEXT NOT NULL,
    quota_mb INTEGER NOT NULL,
    used_mb REAL NOT NULL DEFAULT 0,
    suspended INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE INDEX ftp_accounts_user ON ftp_accounts (user_id);
CREATE INDEX ftp_accounts_domain ON ftp_accounts (domain_id);

-- Deleting a directory deletes its contents.
CREATE TABLE files (
    path TEXT PRIMARY KEY,
    parent TEXT REFERENCES files (path) ON DELETE CASCADE,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    content TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT 0,
    permissions TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    domain_id TEXT REFERENCES domains (id) ON DELETE CASCADE,
    modified_at INTEGER NOT NULL
);
CREATE INDEX files_parent ON files (parent);
CREATE INDEX files_account ON files (account_id);
CREATE INDEX files_domain ON files (domain_id);

CREATE TABLE backups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    encrypted INTEGER NOT NULL,
    compression_level INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    running_at INTEGER NOT NULL,
    completed_at INTEGER NOT NULL
);

-- An archive outlives its domains, so it does not refer to them.
CREATE TABLE backup_domains (
    backup_id TEXT NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    domain_id TEXT NOT NULL,
    domain TEXT NOT NULL,
    PRIMARY KEY (backup_id, domain_id)
);

CREATE TABLE backup_files (
    backup_id TEXT NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    domain_id TEXT NOT NULL,
    path TEXT NOT NULL,
    parent TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    size INTEGER NOT NULL,
    permissions TEXT NOT NULL,
    modified_at INTEGER NOT NULL,
    PRIMARY KEY (backup_id, path)
);

CREATE TABLE services (
    name TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    status TEXT NOT NULL,
    pid INTEGER,
    started_at INTEGER,
    cpu_percent REAL NOT NULL,
    memory_mb INTEGER NOT NULL
);

CREATE TABLE cloudflare_zones (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    synced_at INTEGER
);

-- The secret is stored in plain text, because checking an HMAC needs it.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    api_key TEXT NOT NULL UNIQUE,
    api_secret TEXT NOT NULL,
    scopes TEXT NOT NULL,        -- JSON
    rate_limit_tier TEXT NOT NULL,
    ip_whitelist TEXT NOT NULL,  -- JSON
    revoked INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER,
    created_at INTEGER NOT NULL
);

CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    destination_type TEXT NOT NULL,
    destination_config TEXT NOT NULL,  -- JSON
    events TEXT NOT NULL,              -- JSON
    retry_count INTEGER NOT NULL,
    retry_delay_seconds INTEGER NOT NULL,
    timeout_seconds INTEGER NOT NULL,
    active INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL
);

CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_type TEXT NOT NULL,
    event_id TEXT NOT NULL,
    status TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    response_time_ms INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id);
