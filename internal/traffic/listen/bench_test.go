package listen

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// BenchmarkLine has lines sent, as HAProxy does, and taken and counted, as the agent does:
// what one costs each of them, of processor time.
func BenchmarkLine(b *testing.B) {
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	s := specAt(free.LocalAddr().(*net.UDPAddr).Port)
	if err := free.Close(); err != nil {
		b.Fatal(err)
	}
	at := haproxy.LogAddress(s)
	in, err := open(at)
	if err != nil {
		b.Fatal(err)
	}
	defer in.close() //nolint:errcheck // nothing was written
	out, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), at.Port())))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	l := New(Options{
		Spec: func() *spec.Spec { return s }, MayTell: func(uid uint32) bool { return int(uid) == os.Geteuid() }, Log: slog.New(slog.DiscardHandler),
	})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var sent, taken time.Duration
	lines, lost := 0, uint32(0)
	for b.Loop() {
		begun := processorTime(b)
		for range atOnce {
			if _, err := out.Write([]byte(line)); err != nil {
				b.Fatal(err)
			}
		}
		between := processorTime(b)
		for left := atOnce; left > 0; {
			n, err := in.read(true)
			if err != nil {
				b.Fatal(err)
			}
			lost = l.count(in, n, lost)
			left -= n
		}
		sent, taken, lines = sent+between-begun, taken+processorTime(b)-between, lines+atOnce
	}
	b.ReportMetric(float64(sent.Nanoseconds())/float64(lines), "ns/sent")
	b.ReportMetric(float64(taken.Nanoseconds())/float64(lines), "ns/taken")
	if n := l.Account().Sums[0].Requests(); n != uint64(lines) {
		b.Errorf("%d of %d lines were counted", n, lines)
	}
}

// processorTime gives what this thread has taken.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
