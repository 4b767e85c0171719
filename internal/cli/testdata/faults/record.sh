#!/bin/bash
# Records what holdfast status knows of each fault of the lab, for the golden screens of
# TestFaultScreens: one NAME.json for each, with the Cloud, and the incidents of that time.
#
#   record.sh HOLDFAST [NAME...]
#
# It needs what "holdfast lab up" needs, jq and curl. HOLDFAST is the binary. Without names it
# does all, each in a lab of its own, within some fifteen minutes. What is recorded is of so many
# seconds after the fault, or of when status first has a finding of that code: a host whose table
# of connections is full can tell so at times only.
set -u
holdfast=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
lab=faults
faults='
service-kill     10  service-kill OTHER nova
service-hang     26  service-hang OTHER glance
service-errors    8  service-errors OTHER keystone
service-down      8  service-kill cloudcontrol1003 nova; service-kill cloudcontrol1004 nova; service-kill cloudcontrol1005 nova
service-restart   6  service-restart OTHER nova
graceful-restart  6  graceful-restart OTHER nova
late             16  late 2s OTHER nova
busy             16  busy 2x800ms OTHER glance
service-stall     7  service-stall 8s OTHER nova
stall             6  stall 8s nova
push-back         6  push-back 5 OTHER nova
closes            6  closes OTHER nova
haproxy-kill     10  haproxy-kill HOLDER
haproxy-hang      6  haproxy-hang HOLDER
agent-kill        8  agent-kill HOLDER
agent-hang        4  agent-hang HOLDER
agent-stop        8  agent-stop OTHER
agent-restart     6  agent-restart OTHER
agent-reload      5  agent-reload OTHER
power-off        12  power-off HOLDER
power-off-backup 12  power-off OTHER
unplug           12  unplug HOLDER
loss             30  loss 40 OTHER
delay            30  delay 200ms OTHER
one-way          10  one-way HOLDER OTHER
blind            12  blind OTHER
flap             10  flap OTHER 2s
disk-full         6  disk-full OTHER
read-only         6  read-only OTHER
no-run-dir        5  no-run-dir OTHER
log-stuck         6  log-stuck OTHER
clock             8  clock OTHER +3h
no-files          8  no-files OTHER
haproxy-no-files  8  haproxy-no-files OTHER
mac-change        5  mac-change HOLDER
device-remade     6  device-remade OTHER
address-stolen    8  address-stolen cloudservices1003
conntrack-full   conntrack-full  conntrack-full OTHER
adverts-blocked  12  adverts-blocked HOLDER out
source-guard      8  source-guard OTHER
flush-rules       5  flush-rules OTHER
partition        14  partition HOLDER OTHER
'

node() { "$holdfast" lab exec --name $lab "$@"; }
fault() { "$holdfast" lab fault --name $lab "$@"; }
healthy() { node client holdfast status >/dev/null 2>&1; }

record() { # NAME WAIT COMMANDS
	local name=$1 wait=$2 commands=$3 holder other since
	holder=$(node client holdfast status -o json | jq -r '.vips[0].holder')
	other=cloudcontrol1005
	[ "$holder" = $other ] && other=cloudcontrol1004
	since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
	commands=${commands//HOLDER/$holder}
	commands=${commands//OTHER/$other}
	echo "$name: $commands"
	local IFS=';' one
	for one in $commands; do
		IFS=' '
		fault $one || return
	done
	IFS=' '
	case $wait in
	*[!0-9]*)
		for ((i = 0; i < 40; i++)); do
			node client holdfast status -o json >"$work/cloud"
			jq -e --arg code "$wait" 'any(.findings[]; .code == $code)' "$work/cloud" >/dev/null && break
			sleep 0.3
		done
		;;
	*)
		sleep "$wait"
		node client holdfast status -o json >"$work/cloud"
		;;
	esac
	node client holdfast events --incidents --since "$since" -o json 2>/dev/null >"$work/incidents"
	jq -n --arg fault "$commands" --slurpfile c "$work/cloud" --slurpfile i "$work/incidents" '
		{fault: $fault, cloud: $c[0], incidents: ($i[0].incidents // [])}
		| del(.cloud.controllers[].snapshot.services, .cloud.controllers[].snapshot.paths, .incidents[].events)' >"$here/$name.json"
}

work=$(mktemp -d)
clients=
finish() {
	[ -n "$clients" ] && kill "$clients" 2>/dev/null
	"$holdfast" lab down --name $lab >/dev/null 2>&1
	clients=
}
trap 'finish; rm -r "$work"' EXIT
while read -r name wait commands; do
	[ -z "$name" ] && continue
	[ $# -gt 0 ] && [[ " $* " != *" $name "* ]] && continue
	"$holdfast" lab up --name $lab --detach </dev/null >/dev/null 2>&1 || exit
	node client sh -c 'while :; do for p in 5000 9292 8774; do curl -sm5 -o /dev/null http://10.64.20.10:$p/; done; sleep 0.05; done' </dev/null &
	clients=$!
	for _ in $(seq 20); do healthy </dev/null && break; sleep 0.5; done
	sleep 7 # what a host was before a change is of interest for some seconds
	record "$name" "$wait" "$commands" </dev/null
	finish
done <<<"$faults"
