#!/bin/sh
# HAProxy 2.6.12: with a consistent hash, a redispatch avoids the server before, and no other.
#
# Three servers, of which two refuse, "retries 3" and "option redispatch 1": by round robin every client is served
# by the third. With "balance source" and "hash-type consistent" some clients get 503: the first try goes to
# one that refuses, the second to its neighbour on the ring, which refuses too, and the third to the first again, since
# only the server of the try before is left out. However many retries there are, the one that is well is not asked.
# (Checks end this once they have found both; here they are not made.)
#
# Seen: roundrobin: 0 of 60 clients got 503; source: 20 of 60
set -eu
version=2.6.12-1+deb12u3
pid=; dir=$(mktemp -d); trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -q "haproxy=$version" >/dev/null 2>&1 && dpkg -x haproxy_*.deb . || { echo "haproxy $version cannot be had"; exit 2; }
failed() {
	cat >c.cfg <<CFG
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    retries 3
    option redispatch 1
frontend well
    bind 127.0.0.1:28093
    http-request return status 200
frontend front
    bind 127.0.0.1:28090
    default_backend hosts
backend hosts
    balance $1
    $2
    server refuses1 127.0.0.1:28091
    server refuses2 127.0.0.1:28092
    server well 127.0.0.1:28093
CFG
	./usr/sbin/haproxy -db -f c.cfg >log 2>&1 & pid=$!
	sleep 1
	n=0 i=1
	while [ $i -le 60 ]; do
		code=$(curl -s -o /dev/null -w '%{http_code}' --interface "127.0.1.$i" http://127.0.0.1:28090/)
		[ "$code" = 503 ] && n=$((n + 1))
		i=$((i + 1))
	done
	kill $pid; wait $pid 2>/dev/null || true
	echo $n
}
even=$(failed roundrobin "# no hash"); hash=$(failed source "hash-type consistent")
echo "HAProxy $version: roundrobin: $even of 60 clients got 503; source: $hash"
[ "$even" -eq 0 ] && [ "$hash" -gt 0 ] || { echo "this has changed"; exit 1; }
