#!/bin/sh
# HAProxy 2.6.12: a failure that "retry-on" sends again is not seen by "observe layer7".
#
# The manual says of "observe layer7" that a server's answers to real requests count for its health, and
# "on-error mark-down" takes it out at the first failure. With "retry-on 500" on the same backend, the server
# that answers 500 to everything stays UP, however many requests it fails: HAProxy looks at the retry first,
# and adjusts the server's health only for an answer that it hands on. Each request is tried there again and
# again. The retries do count as "wredis" of the server in "show stat".
#
# Seen: without retry-on  DOWN, after 1 failure
#       with retry-on     UP, 40 redispatches for 40 requests
set -eu
version=2.6.12-1+deb12u3
pid=; dir=$(mktemp -d); trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -q "haproxy=$version" >/dev/null 2>&1 && dpkg -x haproxy_*.deb . || { echo "haproxy $version cannot be had"; exit 2; }
config() {
	cat <<CFG
global
    stats socket $dir/s.sock
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend bad
    bind 127.0.0.1:28081
    http-request return status 200 if { path /check }
    http-request return status 500
frontend good
    bind 127.0.0.1:28082
    http-request return status 200
frontend front
    bind 127.0.0.1:28080
    default_backend hosts
backend hosts
    balance roundrobin
    option redispatch 1
    option httpchk GET /check
    $1
    default-server check inter 60s observe layer7 error-limit 1 on-error mark-down
    server bad 127.0.0.1:28081
    server good 127.0.0.1:28082
CFG
}
try() {
	config "$1" >c.cfg
	./usr/sbin/haproxy -db -f c.cfg >log 2>&1 & pid=$!
	sleep 1
	i=0
	while [ $i -lt 40 ]; do curl -s -o /dev/null http://127.0.0.1:28080/; i=$((i + 1)); done
	python3 - "$dir/s.sock" <<'PY'
import csv, io, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"show stat\n")
text = b"".join(iter(lambda: s.recv(65536), b"")).decode()[2:]
row = next(r for r in csv.DictReader(io.StringIO(text)) if r["pxname"] == "hosts" and r["svname"] == "bad")
print(row["status"].split()[0], row["wredis"])
PY
	kill $pid; wait $pid 2>/dev/null || true
}
without=$(try "# no retry-on"); with=$(try "retry-on 500")
echo "HAProxy $version: without retry-on: $without redispatches; with retry-on 500: $with redispatches"
[ "$without" = "DOWN 0" ] && [ "$with" = "UP 40" ] || { echo "this has changed"; exit 1; }
