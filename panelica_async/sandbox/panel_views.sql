-- The objects of each kind as current panels show them. A view has the name of its kind, after `panel_`. Replies do not
-- show columns that begin with `_`; `_owner` is the account that owns the object.

CREATE VIEW panel_account AS
SELECT
    id, username, email, full_name, role, CASE WHEN suspended THEN 'suspended' ELSE 'active' END AS status, plan_id,
    created_at, id AS _owner
FROM accounts;

-- `columns` holds further fields of a plan; its handlers merge them with the others.
CREATE VIEW panel_plan AS
SELECT
    id, name, slug, disk_space_mb AS disk_quota_mb, bandwidth_mb AS monthly_bandwidth_mb, max_domains,
    max_email_accounts, max_databases, max_ftp_accounts, columns, created_at, NULL AS _owner
FROM plans;

CREATE VIEW panel_domain AS
SELECT
    id, domain AS domain_name, user_id, status, php_version,
    CASE WHEN web_server IN ('nginx', 'nginx_only') THEN 'nginx_only' ELSE 'nginx_apache' END AS web_server,
    document_root, ssl_enabled, created_at, created_at AS updated_at, user_id AS _owner
FROM domain;

CREATE VIEW panel_dns_record AS
SELECT r.id, r.type, r.name, r.content, r.ttl, r.priority, r.zone_id AS _zone_id, d.user_id AS _owner
FROM dns_records AS r JOIN domains AS d ON d.id = r.zone_id;

CREATE VIEW panel_certificate AS
SELECT
    d.id AS domain_id, d.domain AS domain_name, d.ssl_enabled AS has_ssl, c.issuer, c.expires_at, d.user_id AS _owner
FROM domain AS d
LEFT JOIN certificates AS c ON c.domain_id = d.id AND c.valid_from <= now() AND c.expires_at > now();

CREATE VIEW panel_database_user AS
SELECT
    u.id, u.username, u.privileges AS role, u.is_primary, b.name AS database_name, d.user_id, b.domain_id,
    b.id AS _database_id, d.user_id AS _owner
FROM database_users AS u JOIN databases AS b ON b.id = u.database_id JOIN domains AS d ON d.id = b.domain_id;

CREATE VIEW panel_email_account AS
SELECT
    m.id, m.email, m.domain_id, m.quota_mb, CAST(m.used_mb AS INTEGER) AS used_quota_mb, d.status, m.created_at,
    d.user_id AS _owner
FROM email_accounts AS m JOIN domain AS d ON d.id = m.domain_id;

CREATE VIEW panel_ftp_account AS
SELECT
    f.id, f.username AS ftp_username, f.user_id, f.domain_id,
    -- Relative to the home of the account, /home/<username> (evidence: ftp-home).
    coalesce(nullif(substr(f.home_directory, length(a.username) + 7), ''), '/') AS home_directory,
    f.quota_mb, CAST(f.used_mb AS INTEGER) AS used_mb, f.status, f.created_at, f.user_id AS _owner
FROM ftp_account AS f JOIN accounts AS a ON a.id = f.user_id;

-- A backup belongs to the owner of its domains; if they have several owners, to none of them.
CREATE VIEW panel_backup AS
SELECT
    b.id AS backup_id, b.name || '.tar.gz' AS filename, b.name AS backup_name,
    round(coalesce(b.size_bytes, 0) / 1048576.0, 2) AS size_mb,
    (SELECT json_group_array(domain) FROM backup_domains WHERE backup_id = b.id) AS domain_names,
    b.domains_count AS domain_count, b.created_at, b.status, b.type AS backup_type, b.encrypted,
    (
        SELECT CASE WHEN count(DISTINCT d.user_id) = 1 THEN min(d.user_id) END
        FROM backup_domains AS a JOIN domains AS d ON d.id = a.domain_id WHERE a.backup_id = b.id
    ) AS _owner
FROM backup AS b;

-- Objects of current panels without a table of their own; each belongs to an account, and may belong to a domain.
CREATE TABLE IF NOT EXISTS panel_objects (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    domain_id TEXT REFERENCES domains (id) ON DELETE CASCADE,
    data TEXT NOT NULL  -- JSON
);
CREATE INDEX IF NOT EXISTS panel_objects_kind ON panel_objects (kind, user_id);
CREATE INDEX IF NOT EXISTS panel_objects_domain ON panel_objects (domain_id);

CREATE VIEW panel_object AS
SELECT id, kind AS _kind, user_id, domain_id, data, user_id AS _owner FROM panel_objects;

-- Deleted files and directories that can be restored. Meanwhile, their paths are outside the homes.
CREATE TABLE IF NOT EXISTS trash (
    id TEXT PRIMARY KEY,
    path TEXT NOT NULL REFERENCES files (path) ON DELETE CASCADE,
    original_path TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    trashed_at INTEGER NOT NULL
);
