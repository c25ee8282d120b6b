#!/usr/bin/env bash
# Makes a chroot with the newest OpenStack clients that Debian has (python3-ironicclient with its `node children` commands, openstackclient,
# openstacksdk) and prints its path: `chroot "$(openstack-chroot.sh)" baremetal ...`. It shares the host's network, so loopback is the same.
#
# The chroot is made once, in about a minute and a half, below $RISER_CACHE (default: $XDG_CACHE_HOME/riser, ~/.cache/riser), never in the
# tree. Remove the directory to have it made anew. The mirror is the one that this machine's own apt uses.
set -euo pipefail

# The first suite that can be installed is taken: testing is the newest, and the stable release after this one is there on testing's bad days.
suites=(testing trixie)
packages=(python3-ironicclient python3-openstackclient python3-openstacksdk)

cache=${RISER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/riser}
root=$cache/openstack

if [[ -x "$root/usr/bin/baremetal" ]]; then
  echo "$root"
  exit 0
fi
if ((EUID != 0)); then
  echo "openstack-chroot.sh: $root does not exist; making it takes root" >&2
  exit 1
fi

mkdir -p "$cache"
# Test packages run side by side; the second waits for the first one's work.
exec 9>"$cache/openstack.lock"
flock 9
if [[ -x "$root/usr/bin/baremetal" ]]; then
  echo "$root"
  exit 0
fi

mirror() {
  local codename
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v codename="$codename" '$1 == "Debian" && $2 == codename && $3 == "main" { print $4; exit }'
}

# install SUITE DIR makes the chroot; what it prints goes to the log.
install() {
  local suite=$1 dir=$2
  local -a in_chroot=(chroot "$dir" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8)
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$dir" "$uri" || return 1
  printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d"
  chmod 755 "$dir/usr/sbin/policy-rc.d"
  echo force-unsafe-io >"$dir/etc/dpkg/dpkg.cfg.d/unsafe-io"
  "${in_chroot[@]}" apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends "${packages[@]}" || return 1
  "${in_chroot[@]}" baremetal --version || return 1
  "${in_chroot[@]}" apt-get clean
  rm -rf "$dir"/var/lib/apt/lists/*
}

uri=$(mirror)
if [[ -z "$uri" ]]; then
  echo "openstack-chroot.sh: apt's sources name no Debian mirror with this release's main component (is apt-get update done?)" >&2
  exit 1
fi
log=$cache/openstack.log
: >"$log"
partial=$(mktemp -d "$cache/openstack.XXXXXX")
trap 'rm -rf --one-file-system "$partial"' EXIT
for suite in "${suites[@]}"; do
  echo "making a chroot with the OpenStack clients of Debian $suite" >&2
  rm -rf --one-file-system "$partial"
  mkdir -m 755 "$partial"
  if install "$suite" "$partial" >>"$log" 2>&1 </dev/null; then
    mv -T "$partial" "$root"
    echo "$root"
    exit 0
  fi
  echo "openstack-chroot.sh: Debian $suite cannot be installed:" >&2
  tail -n 20 "$log" >&2
done
exit 1
