#!/bin/sh
# Takes holdfast out of service on this controller: stops the agent, which hands its virtual
# IPs over with their connections, puts the kernel's settings back, and ends the HAProxy
# that the agent left running. Run before holdfast is removed: by the packages, and by
# "make uninstall". Running it again does no harm.
#
#   leave [PROGRAM]      the program holdfast; default /usr/bin/holdfast
#
# HOLDFAST_LEAVE_WAIT is how many seconds HAProxy may finish what it has; default 30.
set -u
program=${1:-/usr/bin/holdfast}
settings=/etc/default/holdfast

say() { echo "holdfast: $*"; }

# setting NAME: what the file of settings says. It is systemd's to read and not a shell's.
setting() {
	[ -r $settings ] && sed -n "s/^[[:space:]]*$1=//p" $settings | tail -n 1 | tr -d "\"'"
}

run=$(setting HOLDFAST_RUN_DIR)
run=${run:-/run/holdfast}
controller=$(setting HOLDFAST_CONTROLLER)
controller=${controller:-$(uname -n | cut -d . -f 1)}

if [ -d /run/systemd/system ]; then
	# The socket first: it would start the agent again.
	for unit in holdfast.socket holdfast.service; do
		systemctl is-active --quiet $unit || continue
		say "stopping $unit"
		systemctl stop $unit || say "$unit did not stop as it should, see: journalctl -u holdfast"
	done
	systemctl disable --quiet holdfast.socket holdfast.service 2>/dev/null
fi

# ours PID: whether it is the master of the HAProxy that an agent ran from $run.
ours() {
	[ -r "/proc/$1/cmdline" ] && tr '\0' '\n' < "/proc/$1/cmdline" | grep -q "^$run/master.sock,"
}

if [ -x "$program" ] && [ -d "$run" ] && [ -d /run/systemd/system ]; then
	HOLDFAST_RUN_DIR=$run "$program" agent --cleanup --controller "$controller" ||
		say "some of the kernel's settings may be left as the agent had them, see above"
fi

pid=$(cat "$run/haproxy.pid" 2>/dev/null | head -n 1)
if [ -n "$pid" ] && ours "$pid"; then
	say "HAProxy (process $pid) finishes what it has"
	kill -USR1 "$pid"
	left=${HOLDFAST_LEAVE_WAIT:-30}
	while [ "$left" -gt 0 ] && ours "$pid"; do
		sleep 1
		left=$((left - 1))
	done
	if ours "$pid"; then
		say "HAProxy still has connections, which are cut"
		kill -TERM "$pid"
		sleep 1
		ours "$pid" && kill -KILL "$pid"
	fi
fi
exit 0
