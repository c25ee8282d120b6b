ALTER TABLE host_pfs ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE host_pfs ADD COLUMN whole INTEGER NOT NULL DEFAULT 0;
ALTER TABLE host_pfs ADD COLUMN free INTEGER NOT NULL DEFAULT 0;
UPDATE host_pfs SET
  claimed = (SELECT COUNT(*) FROM claims WHERE claims.host = host_pfs.host AND claims.pf = host_pfs.address),
  whole = (SELECT COUNT(*) FROM claims WHERE claims.host = host_pfs.host AND claims.pf = host_pfs.address AND claims.vf = -1);
UPDATE host_pfs SET free = CASE WHEN whole > 0 OR claimed > vfs THEN 0 ELSE vfs - claimed END;
CREATE INDEX host_pfs_free ON host_pfs ((COALESCE(physical_network, '')), free DESC, id) WHERE remote_managed = 1 AND serial <> '' AND free > 0;
CREATE INDEX hosts_service ON hosts (service);
ALTER TABLE servers ADD COLUMN move TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN claim_key TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN held TEXT NOT NULL DEFAULT '';
CREATE INDEX servers_held ON servers (held) WHERE held <> '';
CREATE TABLE moves (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  server TEXT NOT NULL,
  kind TEXT NOT NULL,
  status TEXT NOT NULL,
  source TEXT NOT NULL,
  dest TEXT NOT NULL,
  project TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL DEFAULT '',
  flavor TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX moves_server ON moves (server);
CREATE TABLE leftovers (
  host TEXT NOT NULL,
  server TEXT NOT NULL,
  PRIMARY KEY (host, server)
);
CREATE TABLE domains (
  host TEXT NOT NULL,
  id TEXT NOT NULL,
  revision BIGINT NOT NULL,
  spec TEXT NOT NULL DEFAULT '',
  want TEXT NOT NULL,
  hard INTEGER NOT NULL DEFAULT 0,
  reported_revision BIGINT NOT NULL DEFAULT 0,
  reported_state TEXT NOT NULL DEFAULT '',
  reported_kind TEXT NOT NULL DEFAULT '',
  reported_error TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (host, id)
);
CREATE INDEX domains_revision ON domains (host, revision);
