CREATE TABLE authority (
  id INTEGER PRIMARY KEY,
  certificate {blob} NOT NULL,
  private_key {blob} NOT NULL,
  created_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE join_tokens (
  id {id},
  name TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  agent TEXT NOT NULL,
  hash TEXT NOT NULL,
  used_by TEXT NOT NULL DEFAULT '',
  issued_by TEXT NOT NULL DEFAULT '',
  expires_at BIGINT NOT NULL,
  created_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX join_tokens_agent ON join_tokens (kind, agent);

CREATE TABLE identities (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  agent TEXT NOT NULL,
  state TEXT NOT NULL,
  key_hash TEXT NOT NULL,
  certificate TEXT NOT NULL DEFAULT '',
  next_certificate TEXT NOT NULL DEFAULT '',
  expires_at BIGINT NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX identities_active ON identities (kind, agent) WHERE state = 'active';
CREATE INDEX identities_agent ON identities (kind, agent);

ALTER TABLE orders ADD COLUMN drained INTEGER NOT NULL DEFAULT 0;

CREATE TABLE port_bindings (
  id {id},
  port TEXT NOT NULL REFERENCES vports (uuid) ON DELETE CASCADE,
  host TEXT NOT NULL,
  vnic_type TEXT NOT NULL,
  profile TEXT NOT NULL DEFAULT '',
  vif_type TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (port, host)
);

CREATE TABLE security_groups (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  project TEXT NOT NULL DEFAULT '',
  stateless INTEGER NOT NULL DEFAULT 0,
  pending BIGINT NOT NULL DEFAULT 0,
  trouble TEXT NOT NULL DEFAULT '',
  deleted INTEGER NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX security_groups_pending ON security_groups (id) WHERE pending <> 0;
CREATE UNIQUE INDEX security_groups_default ON security_groups (project) WHERE name = 'default' AND deleted = 0;

CREATE TABLE security_group_rules (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  security_group TEXT NOT NULL REFERENCES security_groups (uuid) ON DELETE CASCADE,
  direction TEXT NOT NULL,
  ethertype TEXT NOT NULL,
  protocol TEXT NOT NULL DEFAULT '',
  port_min INTEGER,
  port_max INTEGER,
  remote_prefix TEXT NOT NULL DEFAULT '',
  remote_group TEXT NOT NULL DEFAULT '',
  description TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX security_group_rules_group ON security_group_rules (security_group);
CREATE INDEX security_group_rules_remote ON security_group_rules (remote_group) WHERE remote_group <> '';

CREATE TABLE vport_groups (
  security_group TEXT NOT NULL REFERENCES security_groups (uuid),
  port TEXT NOT NULL REFERENCES vports (uuid) ON DELETE CASCADE,
  PRIMARY KEY (security_group, port)
);
CREATE INDEX vport_groups_port ON vport_groups (port)
