CREATE TABLE chassis (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL DEFAULT '',
  extra TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE portgroups (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  name TEXT NOT NULL DEFAULT '',
  address TEXT NOT NULL DEFAULT '',
  extra TEXT NOT NULL DEFAULT '',
  internal_info TEXT NOT NULL DEFAULT '',
  standalone_ports_supported INTEGER NOT NULL DEFAULT 1,
  mode TEXT NOT NULL DEFAULT '',
  properties TEXT NOT NULL DEFAULT '',
  physical_network TEXT NOT NULL DEFAULT '',
  category TEXT NOT NULL DEFAULT '',
  dynamic_portgroup INTEGER NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX portgroups_node ON portgroups (node_uuid);
CREATE UNIQUE INDEX portgroups_name ON portgroups (name) WHERE name <> '';
CREATE UNIQUE INDEX portgroups_address ON portgroups (address) WHERE address <> '';
CREATE INDEX ports_portgroup ON ports (portgroup_uuid) WHERE portgroup_uuid <> '';

CREATE TABLE allocations (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL DEFAULT '',
  resource_class TEXT NOT NULL DEFAULT '',
  candidate_nodes TEXT NOT NULL DEFAULT '',
  traits TEXT NOT NULL DEFAULT '',
  extra TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL DEFAULT '',
  node_uuid TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL,
  last_error TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX allocations_name ON allocations (name) WHERE name <> '';
CREATE UNIQUE INDEX allocations_node ON allocations (node_uuid) WHERE node_uuid <> '';
CREATE INDEX nodes_resource_class ON nodes (resource_class, provision_state);

CREATE TABLE deploy_templates (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  steps TEXT NOT NULL,
  extra TEXT NOT NULL DEFAULT '',
  description TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE runbooks (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  steps TEXT NOT NULL,
  disable_ramdisk INTEGER NOT NULL DEFAULT 0,
  public INTEGER NOT NULL DEFAULT 0,
  owner TEXT NOT NULL DEFAULT '',
  extra TEXT NOT NULL DEFAULT '',
  description TEXT NOT NULL DEFAULT '',
  traits TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE inspection_rules (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL DEFAULT '',
  priority INTEGER NOT NULL DEFAULT 0,
  phase TEXT NOT NULL DEFAULT '',
  sensitive INTEGER NOT NULL DEFAULT 0,
  conditions TEXT NOT NULL DEFAULT '',
  actions TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE volume_connectors (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  type TEXT NOT NULL,
  connector_id TEXT NOT NULL,
  extra TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (type, connector_id)
);
CREATE INDEX volume_connectors_node ON volume_connectors (node_uuid);

CREATE TABLE volume_targets (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  volume_type TEXT NOT NULL,
  volume_id TEXT NOT NULL,
  boot_index INTEGER NOT NULL,
  properties TEXT NOT NULL DEFAULT '',
  extra TEXT NOT NULL DEFAULT '',
  secrets {blob},
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (node_uuid, boot_index)
);

CREATE TABLE node_bios (
  node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  name TEXT NOT NULL,
  setting TEXT NOT NULL,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (node, name)
);

CREATE TABLE node_firmware (
  node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  component TEXT NOT NULL,
  facts TEXT NOT NULL,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (node, component)
);

CREATE TABLE node_inventory (
  node TEXT PRIMARY KEY REFERENCES nodes (uuid) ON DELETE CASCADE,
  inventory TEXT NOT NULL DEFAULT '',
  plugin_data TEXT NOT NULL DEFAULT ''
);
