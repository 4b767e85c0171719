package agent

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// bigSpec has 100 services on 50 hosts; n makes two of them differ.
func bigSpec(n int) string {
	var s strings.Builder
	s.WriteString(testSpec)
	var hosts strings.Builder
	for i := range 50 {
		fmt.Fprintf(&hosts, "      - {name: host%d, address: 192.0.2.%d}\n", i, 100+i)
	}
	for i := range 99 {
		fmt.Fprintf(&s, "  service%d:\n    type: type%d\n    port: %d\n    timeout: {server: %ds}\n    hosts:\n%s", i, i, 20000+i, 60+n%2, hosts.String())
	}
	return s.String()
}

// BenchmarkReloadBig measures a reload of 100 services on 50 hosts, from the
// changed file to HAProxy serving it, and the agent's memory after that.
func BenchmarkReloadBig(b *testing.B) {
	h := newHost(b)
	h.write(bigSpec(0))
	d := h.start()
	d.awaitActive()
	n := 0
	for b.Loop() {
		n++
		h.write(bigSpec(n))
		if r, err := d.rollout.Reload(b.Context(), "benchmark"); err != nil || !r.Changed {
			b.Fatal(r, err)
		}
	}
	debug.FreeOSMemory()
	b.ReportMetric(resident(b), "MiB-resident")
}

// BenchmarkStartToServing measures from the start of an agent, on a host where
// nothing runs, to the first answer of a service through the VIP.
func BenchmarkStartToServing(b *testing.B) {
	h := newHost(b)
	h.keystone()
	// On the other controller, which is not there, no Keystone is to be found.
	h.write(strings.Replace(testSpec, "keystone: {}", "keystone: {hosts: [{name: ctl1, address: 192.0.2.1}]}", 1))
	for b.Loop() {
		d := h.start()
		d.awaitActive() // asking before would wait for a SYN to be sent again
		h.awaitAnswer("http://192.0.2.10:5000/v3", "200")
		b.StopTimer()
		if err := d.end(); err != nil {
			b.Fatal(err)
		}
		h.killHAProxy()
		b.StartTimer()
	}
}

// BenchmarkHAProxyDeathToResignation measures from the death of HAProxy to the
// address being off the interface; another controller has it a skew time after
// the advert before that.
func BenchmarkHAProxyDeathToResignation(b *testing.B) {
	h := newHost(b)
	d := h.start()
	for b.Loop() {
		b.StopTimer()
		d.awaitActive()
		process, err := os.FindProcess(d.Snapshot().HAProxy.PID)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := process.Kill(); err != nil {
			b.Fatal(err)
		}
		for h.hasAddress() {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// resident gives the memory that the process has, in MiB.
func resident(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
