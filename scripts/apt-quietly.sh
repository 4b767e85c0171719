#!/usr/bin/env bash
# Installs Debian packages without starting their services, now or at the next
# boot. Run as root, by deps.sh.
set -euo pipefail

# What dpkg asks before it starts a service. One that is there already is kept.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >&2; }
# The lists of a fresh machine, or of one not updated for long, are of no use.
install "$@" || { apt-get update -q >&2 && install "$@"; }

# Installing a package enables its service; the tests run their own processes.
if [ -d /run/systemd/system ]; then
	for package in "$@"; do
		case $package in
		haproxy | keepalived | knot | nsd | prometheus) systemctl disable --quiet "$package" ;;
		bind9) systemctl disable --quiet named ;;
		pdns-server) systemctl disable --quiet pdns ;;
		esac
	done
fi
