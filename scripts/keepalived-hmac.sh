#!/bin/sh
# Builds a keepalived that has auth_hmac as the draft has it now, which no distribution has
# yet, and tests the trailer of adverts against it, in network namespaces. It is for a
# person: CI does without, and has the vectors of the draft.
#
#   apt-get install autoconf automake pkg-config libssl-dev libnl-3-dev libnl-genl-3-dev
#   scripts/keepalived-hmac.sh [DIRECTORY [VERSION]]
#
# 2.4.0 and 2.4.1 sign other octets, and do not work together with later ones.
set -eu
dir=${1:-/tmp/keepalived-hmac} version=${2:-v2.4.3}
here=$(cd "$(dirname "$0")/.." && pwd)
if [ ! -x "$dir/bin/keepalived" ]; then
	git clone --depth 1 --branch "$version" https://github.com/acassen/keepalived "$dir"
	(cd "$dir" && ./autogen.sh && ./configure --disable-bfd --disable-systemd && make -s)
fi
"$dir/bin/keepalived" --version
cd "$here"
HOLDFAST_KEEPALIVED="$dir/bin/keepalived" exec go test -count=1 -v -run HMAC ./internal/vrrp/link
