#!/bin/bash
# FRR 8.4.4, vrrpd: an IPv4 advert whose checksum covers the VRRP message alone is dropped without a word.
#
# RFC 9568 (section 5.2.8) has an IPv4 checksum cover the message, and only IPv6's a pseudo-header as well; RFC 5798 could be
# read either way. vrrpd of FRR 8.4.4 wants the pseudo-header. Beside a router that advertises priority 254 every 100 ms with the
# RFC's checksum, one of priority 100 without preemption becomes Master as if it heard nobody: no line in its log at
# level debug, and its counter of adverts received stays 0. With a pseudo-header in the checksum, and nothing else changed, it stays Backup.
#
# Seen: message alone: Master, 0 adverts received; with the pseudo-header: Backup, and they are counted
set -eu
version=8.4.4-1.1~deb12u1
if [ -z "${1:-}" ]; then # have the packages, and go on in namespaces of our own
	dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
	chmod 755 "$dir"
	for package in "frr=$version" libyang2 libpcre2-8-0 libjson-c5 libcap2; do
		(cd "$dir" && apt-get download -q "$package") >/dev/null 2>&1 || { echo "$package cannot be had"; exit 2; }
	done
	for deb in "$dir"/*.deb; do dpkg -x "$deb" "$dir/root"; done
	unshare -mn --propagation private "$0" "$dir"
	exit
fi
dir=$1; cd "$dir"
pids=; trap 'for p in $pids; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true' EXIT
# The user and groups that the programs were built for, in this mount namespace only.
cp /etc/passwd passwd; cp /etc/group group
grep -q ^frr: passwd || echo 'frr:x:61999:61999::/:/bin/false' >>passwd
grep -q ^frr: group || echo 'frr:x:61999:' >>group
grep -q ^frrvty: group || echo 'frrvty:x:61998:frr' >>group
mount --bind passwd /etc/passwd; mount --bind group /etc/group
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu/frr:$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu
mkdir run; chown frr:frr run
ip link set lo up
ip link add eth0 type veth peer name other
ip addr add 10.9.9.2/24 dev eth0; ip link set eth0 up
ip link set other up
ip link add vrrp4 link eth0 type macvlan mode bridge
ip link set vrrp4 address 00:00:5e:00:01:33; ip addr add 10.9.9.100/24 dev vrrp4; ip link set vrrp4 up
cat >vrrpd.conf <<C
interface eth0
 vrrp 51
 vrrp 51 advertisement-interval 100
 vrrp 51 priority 100
 no vrrp 51 preempt
 vrrp 51 ip 10.9.9.100
C
: >zebra.conf; chmod 644 ./*.conf
cat >advertise.py <<'P'
import socket, struct, sys, time
def checksum(b):
    b += b"\0" * (len(b) % 2)
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
source, group = socket.inet_aton("10.9.9.1"), socket.inet_aton("224.0.0.18")
body = struct.pack("!BBBBHH4s", 0x31, 51, 254, 1, 10, 0, socket.inet_aton("10.9.9.100"))
pseudo = source + group + struct.pack("!BBH", 0, 112, len(body)) if sys.argv[1] == "pseudo" else b""
body = body[:6] + struct.pack("!H", checksum(pseudo + body)) + body[8:]
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0xc0, 20 + len(body), 1, 0, 255, 112, 0, source, group)
ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
frame = bytes.fromhex("01005e000012" "020000000001" "0800") + ip + body
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("other", 0))
while True: s.send(frame); time.sleep(0.1)
P
cat >ask.py <<'P'
import socket
s = socket.socket(socket.AF_UNIX); s.settimeout(3); s.connect("run/vrrpd.vty")
for command in b"enable", b"show vrrp": # as vtysh does: each ends with a zero, its answer with three and a code
    s.send(command + b"\0")
    answer = b""
    while answer[-4:-1] != b"\0\0\0": answer += s.recv(65536)
print(answer.rstrip(b"\0").decode())
P
start() { "root/usr/lib/frr/$1" -f "$dir/$1.conf" -i "$dir/run/$1.pid" -z "$dir/run/zserv.api" --vty_socket "$dir/run" -A 127.0.0.1 -P 0 --log stdout --log-level debug >"$1.log" 2>&1 & pids="$pids $!"; }
state() { # with adverts of this checksum; gives the state, and how many adverts were counted
	rm -f run/*
	python3 advertise.py "$1" & pids="$pids $!"
	start zebra; for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S run/zserv.api ] || sleep 0.3; done
	start vrrpd; sleep 4
	python3 ask.py >shown
	for p in $pids; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; pids=
	echo "$(sed -n 's/^ *Status (v4) *//p' shown | tr -d ' '), $(sed -n 's/^ *Advertisements Rx (v4) *//p' shown | tr -d ' ') received, $(grep -c -i 'checksum\|drop\|discard' vrrpd.log || true) lines of it in the log"
}
alone=$(state alone); pseudo=$(state pseudo)
echo "FRR $version: message alone: $alone; with the pseudo-header: $pseudo"
case "$alone/$pseudo" in
"Master, 0 received, 0 lines"*/"Backup, "[1-9]*) ;;
*) echo "this has changed"; exit 1 ;;
esac
