#!/usr/bin/env bash
# Tries the packages where they are to run: three containers of systemd-nspawn with a clean
# Debian 12 that boots systemd, on a bridge of their own. "make test-package" runs it, as
# root, in some five minutes, of which two are fetching Debian; it needs mmdebstrap,
# systemd-container, lintian and rpm. What it tries, and what it found, it says as it goes.
#
#   PACKAGE_BASE=DIR  keep the clean root there, for the next run
set -euo pipefail
cd "$(dirname "$0")/../.."

[ "$(id -u)" -eq 0 ] || { echo "run it as root: containers need that" >&2; exit 1; }
missing=()
for entry in mmdebstrap:mmdebstrap systemd-nspawn:systemd-container lintian:lintian rpm:rpm ip:iproute2 curl:curl nsenter:util-linux pgrep:procps; do
	command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
done
[ ${#missing[@]} -eq 0 ] || { echo "installing ${missing[*]}"; scripts/apt-quietly.sh "${missing[@]}"; }

work=$(mktemp -d /tmp/holdfast-package.XXXXXX)
base=${PACKAGE_BASE:-$work/base}
net=hfpkg$$
names=(cloudcontrol1003 cloudcontrol1004 cloudcontrol1005)
vip=10.64.20.10
failed=0

say() { printf '\n== %s\n' "$*"; }
ok() { echo "ok: $*"; }
bad() { echo "FAILED: $*"; failed=1; }
# check WHAT COMMAND...: says WHAT, and whether COMMAND does.
check() { local what=$1; shift; if "$@" >"$work/said" 2>&1; then ok "$what"; else bad "$what"; sed 's/^/    /' "$work/said"; fi; }
# until_true SECONDS COMMAND...
until_true() { local end=$((SECONDS + $1)); shift; until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done; }

declare -A pid
finish() {
	set +e
	# The first process of a container is that of all of them.
	for n in "${names[@]}"; do [ -z "${pid[$n]:-}" ] || kill -KILL $(pgrep -P "${pid[$n]}") 2>/dev/null; done
	wait
	for n in "${names[@]}"; do umount "$work/$n/root" 2>/dev/null; umount "$work/$n" 2>/dev/null; ip netns del "$net$n" 2>/dev/null; done
	umount "$work/container/root" "$work/container" 2>/dev/null
	ip netns del "$net" 2>/dev/null
	rm -rf --one-file-system "$work"
}
trap finish EXIT

say "packages, twice: the same bytes"
make -s release && cp bin/package/SHA256SUMS "$work/first"
make -s release
check "two builds have the same checksums" diff "$work/first" bin/package/SHA256SUMS
check "checksums are those of the files" sh -c 'cd bin/package && sha256sum -c --quiet SHA256SUMS'
check "lintian finds nothing" lintian --fail-on error,warning --tag-display-limit 0 bin/package/*.deb
check "rpm reads the rpm, which asks for haproxy" sh -c 'rpm -qpR bin/package/*.rpm | grep -q "^haproxy >= 2.4"'
check "the SBOM names cobra" grep -q 'pkg:golang/github.com/spf13/cobra@' bin/package/holdfast.cdx.json
deb=$(echo bin/package/*.deb)
commands=$(bin/holdfast man "$work/man" && ls "$work/man")
dpkg-deb -c "$deb" > "$work/files"
for page in $commands; do
	grep -q "/usr/share/man/man8/$page.gz" "$work/files" || bad "no man page $page"
done
ok "the package has a man page of each of $(echo "$commands" | wc -l) commands"

# The next version, for the upgrade: the same program in a package that is newer.
cp "$deb" "$work/holdfast.deb"
dpkg-deb -R "$deb" "$work/newer"
sed -i 's/^Version: .*/Version: 0.9.9-1/' "$work/newer/DEBIAN/control"
dpkg-deb --root-owner-group -b "$work/newer" "$work/holdfast-newer.deb" >/dev/null

say "a clean Debian 12, with what apt is to install in its cache: containers have no way out"
if [ ! -d "$base" ]; then
	mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,ca-certificates,curl,procps,man-db \
		--skip=cleanup/apt --customize-hook='chroot "$1" apt-get update -qq' \
		--customize-hook='chroot "$1" apt-get install -qq -y -d haproxy nftables' \
		bookworm "$base" http://deb.debian.org/debian 2>"$work/mmdebstrap.log" || { cat "$work/mmdebstrap.log"; exit 1; }
fi

say "three of them, booted, on one bridge"
ip netns add "$net"
ip -n "$net" link set lo up
ip -n "$net" link add br0 type bridge
ip -n "$net" addr add 10.64.20.1/24 dev br0
ip -n "$net" link set br0 up
number=12
for n in "${names[@]}"; do
	number=$((number + 1))
	ip netns add "$net$n"
	ip -n "$net" link add "v$number" type veth peer name eno1 netns "$net$n"
	ip -n "$net" link set "v$number" master br0 up
	ip -n "$net$n" addr add 10.64.20.$number/24 dev eno1
	ip -n "$net$n" link set eno1 up
	ip -n "$net$n" link set lo up
	mkdir -p "$work/$n"
	mount -t tmpfs tmpfs "$work/$n"
	mkdir "$work/$n"/{up,work,root}
	mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/$n/up,workdir=$work/$n/work" "$work/$n/root"
	echo "$n" > "$work/$n/root/etc/hostname"
	cp "$work/holdfast.deb" "$work/$n/root/root/holdfast_0.9.0_amd64.deb"
	cp "$work/holdfast-newer.deb" "$work/$n/root/root/newer.deb"
	systemd-nspawn --quiet --register=no --keep-unit --machine="$n" --directory="$work/$n/root" \
		--network-namespace-path="/run/netns/$net$n" --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_NICE --boot \
		</dev/null >"$work/$n.console" 2>&1 &
	pid[$n]=$!
done
# at NAME COMMAND...: in that container.
at() {
	local n=$1 leader; shift
	leader=$(pgrep -P "${pid[$n]}" | head -n 1)
	nsenter -t "$leader" -m -u -i -n -p -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}
# shellcheck disable=SC2317 # until_true calls it
booted() { at "$1" systemctl is-system-running 2>/dev/null | grep -Eq 'running|degraded'; }
for n in "${names[@]}"; do
	until_true 300 booted "$n" || { tail -5 "$work/$n.console"; at "$n" systemctl is-system-running || true; bad "$n does not boot"; exit 1; }
done
ok "systemd runs in ${#names[@]} containers: $(at "${names[0]}" systemctl --version | head -n 1)"

a=${names[0]} b=${names[1]} c=${names[2]}

say "docs/install.md, by its own words, on three controllers whose services are there already"
# The services are those of the cloud: stand-ins, from a program and a spec of their own.
services=(keystone glance nova neutron cinder placement)
bin/holdfast init -f "$work/standin.yaml" --vip $vip/24 --hostname openstack.example.org --interface eno1 --controller "$a=10.64.20.13" \
	--controller "$b=10.64.20.14" --controller "$c=10.64.20.15" --service "$(IFS=,; echo "${services[*]}")" >/dev/null
for n in "${names[@]}"; do
	mkdir -p "$work/$n/root/opt/cloud" "$work/$n/root/opt/copied"
	cp bin/holdfast "$work/standin.yaml" "$work/$n/root/opt/cloud/"
	# There is no ssh between the containers: what is copied waits for the test to carry it over.
	printf '#!/bin/sh\nmkdir -p "/opt/copied/${2%%%%:*}" && cp "$1" "/opt/copied/${2%%%%:*}/"\n' > "$work/$n/root/usr/local/bin/scp"
	chmod +x "$work/$n/root/usr/local/bin/scp"
	echo "$vip openstack.example.org" >> "$work/$n/root/etc/hosts"
	for s in "${services[@]}"; do
		at "$n" systemd-run --quiet --unit="cloud-$s" /opt/cloud/holdfast -f /opt/cloud/standin.yaml lab standin --service "$s" --host "$n"
	done
done
# The commands of the page, each with where it is to run.
awk '/^```sh (every|first)$/ { where = $2; next } /^```/ { where = "" } where { print where "\t" $0 }' docs/install.md > "$work/page"
count=$(wc -l < "$work/page")
begun=$SECONDS
while IFS=$'\t' read -r where line <&3; do
	on=("$a"); [ "$where" = first ] || on=("${names[@]}")
	echo "$where: $line"
	for n in "${on[@]}"; do
		# A finding of doctor that is a warning is not the test's to mend, as that this machine has no NTP.
		if ! at "$n" bash -c "cd /root && PATH=/usr/local/bin:\$PATH && $line" >"$work/said.$n" 2>&1; then
			[ "$line" = "holdfast doctor" ] && ! grep -q '^error:' "$work/said.$n" || { bad "$line on $n"; cat "$work/said.$n"; }
		fi
		[ "$line" = "holdfast doctor" ] && sed 's/^/    /' "$work/said.$n"
	done
	case $line in
	apt-get*) cp "$work/said.$a" "$work/install.a" ;;
	*scp*) for n in "$b" "$c"; do cp "$work/$a/root/opt/copied/$n/holdfast.yaml" "$work/$n/root/etc/holdfast/"; done ;;
	esac
	if [ "$line" = "systemctl enable --now holdfast" ]; then until_true 90 at "$a" holdfast status || true; fi
done 3< "$work/page"
grep '^holdfast:' "$work/install.a"
[ "$count" -le 8 ] && [ $((SECONDS - begun)) -le 600 ] && ok "$count commands, $((SECONDS - begun)) s" || bad "$count commands, $((SECONDS - begun)) s"
check "haproxy.service is disabled" sh -c "[ \"$(at "$a" systemctl is-enabled haproxy || true)\" = disabled ]"
check "haproxy.service does not run" sh -c "[ \"$(at "$a" systemctl is-active haproxy || true)\" = inactive ]"
check "it is said" grep -q 'holdfast: disabled haproxy.service' "$work/install.a"
check "nothing was started before there was a spec" grep -q 'holdfast: nothing was started' "$work/install.a"
check "man holdfast-status" at "$a" sh -c 'zcat /usr/share/man/man8/holdfast-status.8.gz | grep -q "who holds"'
check "systemd understands the units" at "$a" systemd-analyze verify --man=no /usr/lib/systemd/system/holdfast.service /usr/lib/systemd/system/holdfast.socket
echo "systemd-analyze security: $(at "$a" systemd-analyze security --no-pager holdfast.service 2>/dev/null | tail -n 1)"
# shellcheck disable=SC2317
all_well() { at "$a" holdfast status && at "$b" holdfast status && at "$c" holdfast status; }
until_true 90 all_well || { at "$a" holdfast status || true; bad "status is not well"; }
ports=(5000 9292 8774 9696 8776 8778)
answers() { for p in "${ports[@]}"; do ip netns exec "$net" curl -sf -m 5 -o /dev/null "http://$vip:$p/healthcheck" || ip netns exec "$net" curl -s -m 5 -o /dev/null "http://$vip:$p/" || return 1; done; }
check "six services answer at the VIP" answers
# shellcheck disable=SC2317
activated() {
	at "$c" systemctl stop holdfast && at "$c" systemctl enable --quiet --now holdfast.socket &&
		at "$c" ss -Hltnp 'sport = :9470' | grep systemd && at "$c" curl -s -m 30 -o /dev/null http://10.64.20.15:9470/ && until_true 60 at "$c" systemctl is-active --quiet holdfast
}
check "socket activation: systemd has the ports, and who connects starts the agent" activated
until_true 90 all_well || bad "status is not well after that"

say "upgrade, one controller after the other, under load"
cp bin/holdfast "$work/load"
urls=(); for p in "${ports[@]}"; do urls+=(--url "s$p=http://$vip:$p/"); done
ip netns exec "$net" "$work/load" lab load "${urls[@]}" --rate 100 --duration 45s --connections mixed > "$work/load.json" 2>"$work/load.err" &
load=$!
sleep 2
for n in "$b" "$c" "$a"; do
	before=$(at "$n" cat /run/holdfast/haproxy.pid)
	at "$n" apt-get install -y -q --no-install-recommends /root/newer.deb >"$work/upgrade.$n" 2>&1 || { tail "$work/upgrade.$n"; bad "upgrade on $n"; }
	check "$n: HAProxy is the same process after the upgrade" [ "$before" = "$(at "$n" cat /run/holdfast/haproxy.pid)" ]
	until_true 60 all_well || bad "status is not well after the upgrade of $n"
done
kill -0 $load 2>/dev/null || bad "the load ended before the upgrades did"
wait $load || { cat "$work/load.err"; bad "the load"; }
cat "$work/load.json"
grep -q '"failed": 0' "$work/load.json" || at "$a" holdfast events | tail -n 30
check "0 failed, 0 reset" grep -q '"failed": 0' "$work/load.json"

say "an upgrade of HAProxy's package starts no second HAProxy"
at "$a" apt-get install -y -q --reinstall haproxy >"$work/reinstall" 2>&1 || bad "apt-get install --reinstall haproxy"
check "haproxy.service stays off" sh -c "[ \"$(at "$a" systemctl is-active haproxy || true)\" = inactive ]"

say "remove on one controller, with the others going on"
at "$a" apt-get remove -y -q holdfast >"$work/remove" 2>&1 || { tail "$work/remove"; bad "apt-get remove"; }
grep '^holdfast:' "$work/remove" || true
check "no agent and no HAProxy run" sh -c "! ip netns exec $net${names[0]} ss -Hltn | grep -E ':(5000|9470|9471) ' | grep -v 10.64.20.13:5000"
check "the VIP is not there any more" sh -c "! ip -n $net$a addr show dev eno1 | grep -q $vip"
check "six services answer at the VIP" answers
check "haproxy.service is enabled as it was" sh -c "[ \"$(at "$a" systemctl is-enabled haproxy || true)\" = enabled ]"
check "the spec, the settings and the state are left" at "$a" test -e /etc/holdfast/holdfast.yaml -a -e /etc/default/holdfast -a -d /var/lib/holdfast

say "installed again after the removal"
at "$a" sh -c 'apt-get install -y -q --no-install-recommends /root/holdfast_*.deb' >"$work/after" 2>&1 || { tail "$work/after"; bad "install after the removal"; }
check "haproxy.service is disabled again" sh -c "[ \"$(at "$a" systemctl is-enabled haproxy || true)\" = disabled ]"
at "$a" apt-get remove -y -q holdfast >>"$work/after" 2>&1 || { tail "$work/after"; bad "remove again"; }
check "haproxy.service is enabled again" sh -c "[ \"$(at "$a" systemctl is-enabled haproxy || true)\" = enabled ]"

say "purge"
at "$a" mkdir -p /var/lib/holdfast/endpoints && at "$a" touch /var/lib/holdfast/endpoints/journal
at "$a" apt-get purge -y -q holdfast >"$work/purge" 2>&1 || { tail "$work/purge"; bad "apt-get purge"; }
grep '^holdfast:' "$work/purge" || true
check "the spec is left" at "$a" test -e /etc/holdfast/holdfast.yaml
check "journals of endpoints are left" at "$a" test -e /var/lib/holdfast/endpoints/journal
check "nothing else is" at "$a" sh -c 'test ! -e /etc/default/holdfast -a ! -e /run/holdfast -a "$(ls /var/lib/holdfast)" = endpoints && ! ls /usr/bin/holdfast /usr/lib/holdfast /usr/share/doc/holdfast 2>/dev/null'

say "installed again, and purged with nothing of the operator's"
at "$a" rm -rf /etc/holdfast /var/lib/holdfast
at "$a" sh -c 'apt-get install -y -q --no-install-recommends /root/holdfast_*.deb' >"$work/again" 2>&1 || { tail "$work/again"; bad "install again"; }
at "$a" apt-get purge -y -q holdfast >>"$work/again" 2>&1 || { tail "$work/again"; bad "purge again"; }
check "nothing is left" at "$a" sh -c 'test ! -e /etc/holdfast -a ! -e /var/lib/holdfast'

say "a container without systemd, as packaging/container/Containerfile makes it, but for the engine"
mkdir "$work/container" && mount -t tmpfs tmpfs "$work/container" && mkdir "$work/container"/{up,work,root}
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/container/up,workdir=$work/container/work" "$work/container/root"
cp "$work/holdfast.deb" "$work/container/root/root/"
check "the package installs where no systemd runs" env DEBIAN_FRONTEND=noninteractive unshare -n chroot "$work/container/root" apt-get install -y -q --no-install-recommends /root/holdfast.deb
check "the agent's program and HAProxy are there" chroot "$work/container/root" sh -c 'holdfast version && haproxy -v && getent passwd haproxy'

[ $failed = 0 ] && say "all of it holds" || say "not all of it holds, see FAILED above"
exit $failed
