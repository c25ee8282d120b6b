CREATE TABLE hosts (
  id {id},
  name TEXT NOT NULL UNIQUE,
  node TEXT NOT NULL DEFAULT '',
  system_uuid TEXT NOT NULL DEFAULT '',
  system_serial TEXT NOT NULL DEFAULT '',
  service INTEGER NOT NULL DEFAULT 0,
  fingerprint TEXT NOT NULL DEFAULT '',
  virt TEXT NOT NULL DEFAULT '',
  refused TEXT NOT NULL DEFAULT '',
  disabled TEXT NOT NULL DEFAULT '',
  expires_at BIGINT NOT NULL DEFAULT 0,
  reported_at BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX hosts_node ON hosts (node) WHERE node <> '';
CREATE INDEX hosts_system ON hosts (system_uuid) WHERE system_uuid <> '';

CREATE TABLE host_cards (
  id {id},
  host TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
  slot TEXT NOT NULL,
  serial TEXT NOT NULL DEFAULT '',
  card_uuid TEXT NOT NULL DEFAULT '',
  part_number TEXT NOT NULL DEFAULT '',
  name TEXT NOT NULL DEFAULT '',
  problem TEXT NOT NULL DEFAULT '',
  refused TEXT NOT NULL DEFAULT '',
  UNIQUE (host, slot)
);
CREATE INDEX host_cards_serial ON host_cards (serial) WHERE serial <> '';

CREATE TABLE host_pfs (
  id {id},
  host TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
  address TEXT NOT NULL,
  slot TEXT NOT NULL,
  serial TEXT NOT NULL DEFAULT '',
  vendor TEXT NOT NULL DEFAULT '',
  product TEXT NOT NULL DEFAULT '',
  vf_product TEXT NOT NULL DEFAULT '',
  mac TEXT NOT NULL DEFAULT '',
  netdev TEXT NOT NULL DEFAULT '',
  numa INTEGER NOT NULL DEFAULT -1,
  total_vfs INTEGER NOT NULL DEFAULT 0,
  vfs INTEGER NOT NULL DEFAULT 0,
  ranges TEXT NOT NULL DEFAULT '',
  physical_network TEXT,
  remote_managed INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',
  UNIQUE (host, address)
);
CREATE INDEX host_pfs_serial ON host_pfs (serial) WHERE serial <> '';

CREATE TABLE dpus (
  id {id},
  serial TEXT NOT NULL,
  system TEXT NOT NULL,
  card_uuid TEXT NOT NULL DEFAULT '',
  part_number TEXT NOT NULL DEFAULT '',
  source TEXT NOT NULL DEFAULT '',
  chassis TEXT NOT NULL DEFAULT '',
  bmc_address TEXT NOT NULL DEFAULT '',
  bridge TEXT NOT NULL DEFAULT '',
  service INTEGER NOT NULL DEFAULT 0,
  fingerprint TEXT NOT NULL DEFAULT '',
  uplinks TEXT NOT NULL DEFAULT '',
  controllers TEXT NOT NULL DEFAULT '',
  problems TEXT NOT NULL DEFAULT '',
  refused TEXT NOT NULL DEFAULT '',
  expires_at BIGINT NOT NULL DEFAULT 0,
  reported_at BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (serial, system)
);

CREATE TABLE claims (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  key TEXT NOT NULL UNIQUE,
  host TEXT NOT NULL,
  card TEXT NOT NULL,
  pf TEXT NOT NULL,
  pf_mac TEXT NOT NULL DEFAULT '',
  vf INTEGER NOT NULL,
  address TEXT NOT NULL,
  vendor TEXT NOT NULL DEFAULT '',
  product TEXT NOT NULL DEFAULT '',
  numa INTEGER NOT NULL DEFAULT -1,
  physical_network TEXT,
  port TEXT NOT NULL,
  server TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (card, pf, vf)
);
CREATE UNIQUE INDEX claims_representor ON claims (card, pf_mac, vf) WHERE pf_mac <> '';
CREATE INDEX claims_port ON claims (port);
CREATE INDEX claims_server ON claims (server) WHERE server <> '';
CREATE INDEX claims_host ON claims (host, pf);

CREATE TABLE networks (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL DEFAULT '',
  mtu INTEGER NOT NULL DEFAULT 0,
  type TEXT NOT NULL DEFAULT '',
  physical_network TEXT NOT NULL DEFAULT '',
  segment INTEGER NOT NULL DEFAULT 0,
  project TEXT NOT NULL DEFAULT '',
  pending BIGINT NOT NULL DEFAULT 0,
  deleted INTEGER NOT NULL DEFAULT 0,
  trouble TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX networks_pending ON networks (id) WHERE pending <> 0;

CREATE TABLE subnets (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  network TEXT NOT NULL REFERENCES networks (uuid) ON DELETE CASCADE,
  name TEXT NOT NULL DEFAULT '',
  cidr TEXT NOT NULL,
  gateway TEXT NOT NULL DEFAULT '',
  dhcp INTEGER NOT NULL DEFAULT 1,
  dns TEXT NOT NULL DEFAULT '',
  project TEXT NOT NULL DEFAULT '',
  last_address TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX subnets_network ON subnets (network);

CREATE TABLE vports (
  id {id},
  version BIGINT NOT NULL DEFAULT 1,
  uuid TEXT NOT NULL UNIQUE,
  network TEXT NOT NULL REFERENCES networks (uuid),
  name TEXT NOT NULL DEFAULT '',
  mac TEXT NOT NULL,
  fixed_ips TEXT NOT NULL DEFAULT '',
  vnic_type TEXT NOT NULL,
  admin_down INTEGER NOT NULL DEFAULT 0,
  device_id TEXT NOT NULL DEFAULT '',
  device_owner TEXT NOT NULL DEFAULT '',
  host TEXT NOT NULL DEFAULT '',
  profile TEXT NOT NULL DEFAULT '',
  vif_type TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL DEFAULT '',
  status_reason TEXT NOT NULL DEFAULT '',
  generation BIGINT NOT NULL DEFAULT 0,
  port_security INTEGER NOT NULL DEFAULT 1,
  security_groups TEXT NOT NULL DEFAULT '',
  numa_policy TEXT NOT NULL DEFAULT '',
  project TEXT NOT NULL DEFAULT '',
  up INTEGER NOT NULL DEFAULT 0,
  up_reason TEXT NOT NULL DEFAULT '',
  trouble TEXT NOT NULL DEFAULT '',
  pending BIGINT NOT NULL DEFAULT 0,
  deleted INTEGER NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (network, mac)
);
CREATE INDEX vports_device ON vports (device_id) WHERE device_id <> '';
CREATE INDEX vports_pending ON vports (id) WHERE pending <> 0;

CREATE TABLE vport_addresses (
  subnet TEXT NOT NULL REFERENCES subnets (uuid),
  address TEXT NOT NULL,
  port TEXT NOT NULL REFERENCES vports (uuid) ON DELETE CASCADE,
  PRIMARY KEY (subnet, address)
);
CREATE INDEX vport_addresses_port ON vport_addresses (port);

CREATE TABLE orders (
  id {id},
  port TEXT NOT NULL,
  card TEXT NOT NULL,
  claim TEXT NOT NULL DEFAULT '',
  generation BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  action TEXT NOT NULL,
  kind TEXT NOT NULL,
  pf_mac TEXT NOT NULL DEFAULT '',
  number INTEGER NOT NULL DEFAULT 0,
  mac TEXT NOT NULL DEFAULT '',
  mtu INTEGER NOT NULL DEFAULT 0,
  by_ovn INTEGER NOT NULL DEFAULT 0,
  reported_generation BIGINT NOT NULL DEFAULT 0,
  reported_state TEXT NOT NULL DEFAULT '',
  reported_reason TEXT NOT NULL DEFAULT '',
  representor TEXT NOT NULL DEFAULT '',
  installed INTEGER NOT NULL DEFAULT 0,
  reported_at BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE (port, card)
);
CREATE INDEX orders_card ON orders (card, revision);

CREATE TABLE order_heads (
  card TEXT PRIMARY KEY,
  revision BIGINT NOT NULL
);

CREATE TABLE flavors (
  id {id},
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  vcpus INTEGER NOT NULL,
  memory_mb INTEGER NOT NULL,
  disk_gb INTEGER NOT NULL DEFAULT 0,
  extra_specs TEXT NOT NULL DEFAULT ''
);
INSERT INTO flavors (uuid, name, vcpus, memory_mb, disk_gb) VALUES
  ('1', 'm1.tiny', 1, 512, 1),
  ('2', 'm1.small', 1, 2048, 20),
  ('3', 'm1.medium', 2, 4096, 40),
  ('4', 'm1.large', 4, 8192, 80);

CREATE TABLE servers (
  id {id},
  version BIGINT NOT NULL DEFAULT 1,
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  project TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL DEFAULT '',
  description TEXT NOT NULL DEFAULT '',
  flavor TEXT NOT NULL DEFAULT '',
  image TEXT NOT NULL DEFAULT '',
  metadata TEXT NOT NULL DEFAULT '',
  hints TEXT NOT NULL DEFAULT '',
  ports TEXT NOT NULL DEFAULT '',
  host TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL,
  task TEXT NOT NULL DEFAULT '',
  power TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  wait_until BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL DEFAULT 0,
  launched_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX servers_host ON servers (host) WHERE host <> '';
CREATE INDEX servers_busy ON servers (id) WHERE task <> '';
