CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE nodes (
  id {id},
  version BIGINT NOT NULL DEFAULT 1,
  lease_shard INTEGER NOT NULL,
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL DEFAULT '',
  driver TEXT NOT NULL,
  driver_info TEXT NOT NULL DEFAULT '',
  driver_internal_info TEXT NOT NULL DEFAULT '',
  properties TEXT NOT NULL DEFAULT '',
  instance_info TEXT NOT NULL DEFAULT '',
  extra TEXT NOT NULL DEFAULT '',
  network_data TEXT NOT NULL DEFAULT '',
  raid_config TEXT NOT NULL DEFAULT '',
  target_raid_config TEXT NOT NULL DEFAULT '',
  instance_uuid TEXT NOT NULL DEFAULT '',
  instance_name TEXT NOT NULL DEFAULT '',
  chassis_uuid TEXT NOT NULL DEFAULT '',
  allocation_uuid TEXT NOT NULL DEFAULT '',
  parent_node TEXT NOT NULL DEFAULT '',
  power_state TEXT NOT NULL DEFAULT '',
  target_power_state TEXT NOT NULL DEFAULT '',
  provision_state TEXT NOT NULL,
  target_provision_state TEXT NOT NULL DEFAULT '',
  provision_updated_at BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  inspection_started_at BIGINT NOT NULL DEFAULT 0,
  inspection_finished_at BIGINT NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT '',
  reservation TEXT NOT NULL DEFAULT '',
  maintenance INTEGER NOT NULL DEFAULT 0,
  maintenance_reason TEXT NOT NULL DEFAULT '',
  fault TEXT NOT NULL DEFAULT '',
  health TEXT NOT NULL DEFAULT '',
  console_enabled INTEGER NOT NULL DEFAULT 0,
  clean_step TEXT NOT NULL DEFAULT '',
  deploy_step TEXT NOT NULL DEFAULT '',
  service_step TEXT NOT NULL DEFAULT '',
  resource_class TEXT NOT NULL DEFAULT '',
  interfaces TEXT NOT NULL DEFAULT '',
  conductor_group TEXT NOT NULL DEFAULT '',
  automated_clean INTEGER,
  protected INTEGER NOT NULL DEFAULT 0,
  protected_reason TEXT NOT NULL DEFAULT '',
  retired INTEGER NOT NULL DEFAULT 0,
  retired_reason TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL DEFAULT '',
  lessee TEXT NOT NULL DEFAULT '',
  description TEXT NOT NULL DEFAULT '',
  shard TEXT NOT NULL DEFAULT '',
  boot_mode TEXT NOT NULL DEFAULT '',
  secure_boot INTEGER,
  disable_power_off INTEGER NOT NULL DEFAULT 0,
  card_serial TEXT NOT NULL DEFAULT '',
  card_uuid TEXT NOT NULL DEFAULT '',
  card_part_number TEXT NOT NULL DEFAULT '',
  card_chassis TEXT NOT NULL DEFAULT '',
  secrets {blob}
);
CREATE UNIQUE INDEX nodes_name ON nodes (name) WHERE name <> '';
CREATE UNIQUE INDEX nodes_instance ON nodes (instance_uuid) WHERE instance_uuid <> '';
CREATE UNIQUE INDEX nodes_card ON nodes (card_serial) WHERE card_serial <> '';
CREATE INDEX nodes_parent ON nodes (parent_node);
CREATE INDEX nodes_lease ON nodes (lease_shard);
CREATE INDEX nodes_provision ON nodes (provision_state);
CREATE INDEX nodes_chassis ON nodes (chassis_uuid) WHERE chassis_uuid <> '';

CREATE TABLE ports (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  address TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL DEFAULT '',
  extra TEXT NOT NULL DEFAULT '',
  internal_info TEXT NOT NULL DEFAULT '',
  local_link_connection TEXT NOT NULL DEFAULT '',
  pxe_enabled INTEGER NOT NULL DEFAULT 1,
  portgroup_uuid TEXT NOT NULL DEFAULT '',
  physical_network TEXT NOT NULL DEFAULT '',
  is_smartnic INTEGER NOT NULL DEFAULT 0,
  description TEXT NOT NULL DEFAULT '',
  vendor TEXT NOT NULL DEFAULT '',
  category TEXT NOT NULL DEFAULT '',
  available_for_dynamic_portgroup INTEGER NOT NULL DEFAULT 1,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX ports_node ON ports (node_uuid);
CREATE UNIQUE INDEX ports_name ON ports (name) WHERE name <> '';

CREATE TABLE conductors (
  id TEXT PRIMARY KEY,
  hostname TEXT NOT NULL,
  conductor_group TEXT NOT NULL DEFAULT '',
  drivers TEXT NOT NULL DEFAULT '',
  started_at BIGINT NOT NULL,
  heartbeat_at BIGINT NOT NULL,
  stopping INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE lease_groups (
  id {id},
  name TEXT NOT NULL UNIQUE
);

CREATE TABLE leases (
  shard INTEGER PRIMARY KEY,
  owner TEXT NOT NULL DEFAULT '',
  epoch BIGINT NOT NULL DEFAULT 0,
  expires_at BIGINT NOT NULL DEFAULT 0,
  delay_until BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX leases_owner ON leases (owner);

CREATE TABLE ops (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  root TEXT NOT NULL,
  node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  lease_shard INTEGER NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  spec TEXT NOT NULL DEFAULT '',
  result TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '',
  actor TEXT NOT NULL DEFAULT '',
  control TEXT NOT NULL DEFAULT '',
  aborting INTEGER NOT NULL DEFAULT 0,
  epoch BIGINT NOT NULL DEFAULT 0,
  deadline BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL DEFAULT 0,
  ended_at BIGINT NOT NULL DEFAULT 0,
  secrets {blob}
);
CREATE INDEX ops_node ON ops (node, id);
CREATE INDEX ops_open ON ops (lease_shard, id) WHERE ended_at = 0;

CREATE TABLE op_steps (
  id {id},
  op BIGINT NOT NULL REFERENCES ops (id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  node TEXT NOT NULL,
  interface TEXT NOT NULL,
  step TEXT NOT NULL,
  args TEXT NOT NULL DEFAULT '',
  child INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  epoch BIGINT NOT NULL DEFAULT 0,
  sent TEXT NOT NULL DEFAULT '',
  evidence TEXT NOT NULL DEFAULT '',
  kept TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '',
  deadline BIGINT NOT NULL DEFAULT 0,
  started_at BIGINT NOT NULL DEFAULT 0,
  ended_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (op, seq, node)
);

CREATE INDEX op_steps_node ON op_steps (node, op);

CREATE TABLE node_history (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  created_at BIGINT NOT NULL,
  severity TEXT NOT NULL,
  event_type TEXT NOT NULL,
  event TEXT NOT NULL,
  conductor TEXT NOT NULL DEFAULT '',
  actor TEXT NOT NULL DEFAULT '',
  project TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL DEFAULT '',
  target_provision_state TEXT NOT NULL DEFAULT '',
  duration_micros BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX node_history_node ON node_history (node, id);

CREATE TABLE node_traits (
  node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
  trait TEXT NOT NULL,
  PRIMARY KEY (node, trait)
);
