#!/usr/bin/env bash
# Installs Keystone, Glance, MariaDB and the openstack client from Debian 12,
# where they are missing: some 60 MB to fetch, a minute or two. Says what it
# does; does nothing when nothing is missing. Starts no service and leaves none
# to be started: the packages' own units are disabled.
set -euo pipefail

packages=(
	keystone glance-api uwsgi-plugin-python3
	mariadb-server-core mariadb-client-core python3-pymysql
	python3-openstackclient
)

missing=()
for package in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "deps: only root can install ${missing[*]}, and there is no sudo" >&2
		exit 1
	}
	as_root=(sudo)
fi

echo "deps: installing ${missing[*]} (apt-get install --no-install-recommends; no service is started)" >&2
# The packages would ask whether to make a database, users and endpoints. No.
"${as_root[@]}" debconf-set-selections <<'ANSWERS'
keystone keystone/configure_db boolean false
keystone keystone/create-admin-tenant boolean false
keystone keystone/register-endpoint boolean false
glance-common glance/configure_db boolean false
glance-api glance/configure_db boolean false
glance-api glance/register-endpoint boolean false
ANSWERS
"${as_root[@]}" "$(dirname "$0")/../../scripts/apt-quietly.sh" "${missing[@]}"

# Debian enables what it installs; only what this has installed is disabled again.
for unit in keystone glance-api; do
	if [[ " ${missing[*]} " == *" $unit "* ]] && [ -d /run/systemd/system ]; then
		"${as_root[@]}" systemctl --quiet disable "$unit" || true
	fi
done
