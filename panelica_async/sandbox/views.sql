-- The objects of each kind as the reference shows them. A view has the name of its kind.
-- Replies do not show columns that begin with `_`; lists are in the order of `_position`. now() is the panel's clock,
-- traffic_mb() the traffic of a site this month.

-- Objects of endpoints without a handler. Created here, so that older databases get the table too.
CREATE TABLE IF NOT EXISTS objects (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    data TEXT NOT NULL,  -- JSON
    PRIMARY KEY (collection, id)
);

-- The bodies of deliveries.
CREATE TABLE IF NOT EXISTS webhook_payloads (
    delivery_id TEXT PRIMARY KEY REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    body TEXT NOT NULL  -- JSON
);

CREATE VIEW plan AS
SELECT
    id, name, slug, max_domains, max_databases, max_email_accounts, max_ftp_accounts, disk_space_mb, bandwidth_mb,
    php_versions,
    (SELECT count(*) FROM accounts WHERE plan_id = plans.id) AS user_count,
    rowid AS _position
FROM plans;

CREATE VIEW account AS
SELECT
    a.id, a.username, a.email, a.role,
    CASE WHEN a.suspended THEN 'suspended' ELSE 'active' END AS status,
    a.plan_id, p.name AS plan_name,
    (SELECT count(*) FROM domains WHERE user_id = a.id) AS domain_count,
    (SELECT (coalesce(sum(size), 0) + 1048575) / 1048576 FROM files WHERE account_id = a.id) AS disk_usage_mb,
    (SELECT coalesce(sum(traffic_mb(domain, created_at)), 0) FROM domains WHERE user_id = a.id) AS bandwidth_mb,
    a.created_at, a.rowid AS _position
FROM accounts AS a LEFT JOIN plans AS p ON p.id = a.plan_id;

-- An account with its plan, for checks: without the figures that are slow to compute.
CREATE VIEW owner AS
SELECT
    a.id, a.username, a.suspended, p.name AS plan_name, p.max_domains, p.max_databases, p.max_email_accounts,
    p.max_ftp_accounts, p.php_versions
FROM accounts AS a LEFT JOIN plans AS p ON p.id = a.plan_id;

-- A domain is suspended if it or its account was.
CREATE VIEW domain AS
SELECT
    d.id, d.domain, d.user_id,
    CASE WHEN d.suspended OR a.suspended THEN 'suspended' ELSE 'active' END AS status,
    d.php_version, d.web_server, d.document_root,
    EXISTS (
        SELECT 1 FROM certificates WHERE domain_id = d.id AND valid_from <= now() AND expires_at > now()
    ) AS ssl_enabled,
    (SELECT (coalesce(sum(size), 0) + 1048575) / 1048576 FROM files WHERE domain_id = d.id) AS disk_usage_mb,
    traffic_mb(d.domain, d.created_at) AS bandwidth_mb,
    d.created_at, d.rowid AS _position
FROM domains AS d JOIN accounts AS a ON a.id = d.user_id;

CREATE VIEW dns_record AS
SELECT id, zone_id, name, type, content, ttl, priority, rowid AS _position FROM dns_records;

CREATE VIEW certificate AS
SELECT
    c.id, c.domain_id, d.domain, c.type,
    CASE WHEN c.ready_at > now() THEN 'pending' WHEN c.expires_at <= now() THEN 'expired' ELSE 'active' END AS status,
    c.issuer, c.expires_at, c.auto_renew, c.created_at, c.rowid AS _position
FROM certificates AS c JOIN domains AS d ON d.id = c.domain_id;

CREATE VIEW database AS
SELECT
    id, name, type, size_mb,
    (SELECT count(*) FROM database_users WHERE database_id = databases.id) AS user_count,
    domain_id, created_at, rowid AS _position
FROM databases;

CREATE VIEW database_user AS
SELECT
    u.id, u.username, u.privileges, u.is_primary, b.name AS database_name, b.domain_id, d.user_id, u.rowid AS _position
FROM database_users AS u JOIN databases AS b ON b.id = u.database_id JOIN domains AS d ON d.id = b.domain_id;

CREATE VIEW email_account AS
SELECT m.id, m.email, m.domain_id, m.quota_mb, m.used_mb, d.status, m.created_at, m.rowid AS _position
FROM email_accounts AS m JOIN domain AS d ON d.id = m.domain_id;

CREATE VIEW ftp_account AS
SELECT
    f.id, f.username, f.user_id, f.domain_id, f.home_directory, f.quota_mb, f.used_mb,
    CASE WHEN f.suspended OR a.suspended OR d.suspended THEN 'suspended' ELSE 'active' END AS status,
    f.created_at, f.rowid AS _position
FROM ftp_accounts AS f JOIN accounts AS a ON a.id = f.user_id LEFT JOIN domains AS d ON d.id = f.domain_id;

CREATE VIEW file AS
SELECT
    f.name, f.type, f.size, f.permissions, a.username AS owner, a.username AS "group", f.modified_at,
    f.path AS _path, f.parent AS _parent, f.name AS _position
FROM files AS f JOIN accounts AS a ON a.id = f.account_id;

CREATE VIEW backup AS
SELECT
    id, name, type,
    CASE WHEN running_at > now() THEN 'pending' WHEN completed_at > now() THEN 'running' ELSE 'completed' END AS status,
    CASE WHEN completed_at <= now() THEN size_bytes END AS size_bytes,
    (SELECT count(*) FROM backup_domains WHERE backup_id = backups.id) AS domains_count,
    encrypted, compression_level, created_at, rowid AS _position
FROM backups;

CREATE VIEW service AS
SELECT
    name, display_name, status, pid, now() - started_at AS uptime_seconds,
    CASE WHEN status = 'running' THEN cpu_percent ELSE 0.0 END AS cpu_percent,
    CASE WHEN status = 'running' THEN memory_mb ELSE 0 END AS memory_mb,
    rowid AS _position
FROM services;

CREATE VIEW cloudflare_zone AS
SELECT id, name, status, rowid AS _position FROM cloudflare_zones;

CREATE VIEW api_key AS
SELECT
    id, name, substr(api_key, 1, 16) AS key_prefix, scopes, rate_limit_tier, ip_whitelist,
    CASE WHEN revoked THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS status,
    expires_at, created_at, rowid AS _position
FROM api_keys;

CREATE VIEW webhook AS
SELECT
    id, name, destination_type, destination_config, events, retry_count, retry_delay_seconds, timeout_seconds, active,
    created_at, rowid AS _position
FROM webhooks;

CREATE VIEW webhook_delivery AS
SELECT
    id, webhook_id AS _webhook_id, event_type, event_id, status,
    -- Both are NULL if the destination did not answer.
    nullif(status_code, 0) AS status_code, CASE WHEN status_code > 0 THEN response_time_ms END AS response_time_ms,
    retry_count, created_at, rowid AS _position
FROM webhook_deliveries;
