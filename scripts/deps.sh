#!/usr/bin/env bash
# Installs what the tests and the lab need, where it is missing, through apt.
# Says what it does; does nothing when nothing is missing. Starts no service.
set -euo pipefail
cd "$(dirname "$0")"

# command:package, or a path of what brings no command
wanted=(
	haproxy:haproxy       # the data plane
	keepalived:keepalived # tests of interoperation, and the benchmark's other side
	/usr/lib/frr/vrrpd:frr # tests of interoperation: another router of VRRP version 3, and a router of BGP
	nft:nftables          # the rules of a planned move
	conntrack:conntrack
	ip:iproute2
	ping:iputils-ping
	sysctl:procps
	curl:curl
	tmux:tmux
	git:git
	named:bind9           # primary, secondary and resolver for the tests of dns
	knotd:knot            # and primaries of other makes
	pdns_server:pdns-server
	/usr/share/pdns-backend-sqlite3:pdns-backend-sqlite3
	sqlite3:sqlite3
	nsd:nsd
	promtool:prometheus   # tests of the alerts
	chromium:chromium     # tests of the page
)

# Debian keeps some of them where only root looks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing=() packages=()
for entry in "${wanted[@]}"; do
	if ! command -v "${entry%%:*}" >/dev/null && [ ! -e "${entry%%:*}" ]; then
		missing+=("${entry%%:*}")
		packages+=("${entry##*:}")
	fi
done
[ ${#packages[@]} -gt 0 ] || exit 0

give_up() {
	{
		echo "deps: missing: ${missing[*]}"
		echo "deps: $1"
		echo "deps: install what Debian calls: ${packages[*]}"
		echo "deps: or go on without, and what needs them is skipped or fails: make DEPS=true TARGET"
	} >&2
	exit 1
}

command -v apt-get >/dev/null || give_up "there is no apt-get here"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || give_up "only root can install them, and there is no sudo"
	as_root=(sudo)
fi

echo "deps: installing ${packages[*]} (${as_root[*]:+sudo }apt-get install; no service is started)" >&2
"${as_root[@]}" "$PWD/apt-quietly.sh" "${packages[@]}" || give_up "apt-get has failed, see above"
