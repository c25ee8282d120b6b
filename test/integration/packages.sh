#!/usr/bin/env bash
# Installs the Debian packages that the integration tests use. Does nothing when all are there. No service is started: the tests start what
# they need themselves, on loopback, and stop it.
set -euo pipefail

packages=(
  # the race detector's C compiler
  gcc libc6-dev
  # PostgreSQL
  postgresql
  # Open vSwitch and OVN
  openvswitch-switch ovn-central ovn-host
  # simulated BMCs, and the client that drivers are compared with
  openipmi ipmitool
  # libvirtd and virsh, and a machine for libvirtd to run
  libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86
  # the OpenStack clients of this release; newer ones come from openstack-chroot.sh
  python3-ironicclient python3-openstackclient
  # namespaces, and what openstack-chroot.sh needs
  iproute2 util-linux debootstrap ca-certificates
)

missing=()
for package in "${packages[@]}"; do
  if [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ]]; then
    missing+=("$package")
  fi
done
if ((${#missing[@]} == 0)); then
  exit 0
fi
if ((EUID != 0)); then
  echo "packages.sh: missing ${missing[*]}; run it as root" >&2
  exit 1
fi

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
own_policy=
cleanup() {
  rm -f "$log"
  if [[ -n "$own_policy" ]]; then rm -f "$policy"; fi
}
trap cleanup EXIT

# Debian's way to install daemons without starting them (invoke-rc.d asks this file). One that is there already is left alone.
if [[ ! -e "$policy" ]]; then
  own_policy=yes
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt() {
  # The lock may be held by unattended-upgrades; what apt says matters only when it fails.
  if ! apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold "$@" >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log" >&2
    return 1
  fi
}

echo "installing ${missing[*]}"
# A third party's package list that cannot be read does no harm when Debian's can: the install below decides.
apt update || echo "packages.sh: apt-get update failed, going on with the lists that are there" >&2
apt install --no-install-recommends "${missing[@]}"
