#!/usr/bin/env bash
# Tests against real OpenStack services: Keystone and Glance as Debian 12
# packages them, with the openstack client as the judge of what became of the
# catalog. "make test-openstack" runs this.
#
# It installs packages (deps.sh, which says which), builds holdfast, and starts
# clouds of three controllers with "holdfast lab". These are namespaces of
# their own: no service of this machine is started or touched, and nothing
# stays behind but the packages. As root, or through sudo.
#
#   run.sh [-run TEST]      what follows goes to "go test"
set -euo pipefail
cd "$(dirname "$0")/../.."

export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
scripts/deps.sh
test/openstack/deps.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 go build -o "$work/holdfast" ./cmd/holdfast
go test -c -o "$work/openstack.test" ./test/openstack

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || { echo "run.sh: this takes root, and there is no sudo" >&2; exit 1; }
	as_root=(sudo)
fi
cd test/openstack
"${as_root[@]}" env HOLDFAST_OPENSTACK_BINARY="$work/holdfast" "$work/openstack.test" -test.v -test.count=1 -test.timeout=45m "${@/#-run/-test.run}"
