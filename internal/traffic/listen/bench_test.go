package listen

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
)

// BenchmarkLine has lines sent, as HAProxy does, and taken and counted, as the agent does:
// what one costs each of them.
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
	conn, err := open(at)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	out, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), at.Port())))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	l := New(Options{
		Spec: func() *spec.Spec { return s }, MayTell: func(uid uint32) bool { return int(uid) == os.Geteuid() }, Log: slog.New(slog.DiscardHandler),
	})
	in, messages := ipv4.NewPacketConn(conn), buffers()
	var sent, taken time.Duration
	lines, lost := 0, uint32(0)
	for b.Loop() {
		begun := time.Now()
		for range atOnce {
			if _, err := out.Write([]byte(line)); err != nil {
				b.Fatal(err)
			}
		}
		between := time.Now()
		for left := atOnce; left > 0; {
			n, err := in.ReadBatch(messages, 0)
			if err != nil {
				b.Fatal(err)
			}
			lost = l.count(messages[:n], lost)
			left -= n
		}
		sent, taken, lines = sent+between.Sub(begun), taken+time.Since(between), lines+atOnce
	}
	b.ReportMetric(float64(sent.Nanoseconds())/float64(lines), "ns/sent")
	b.ReportMetric(float64(taken.Nanoseconds())/float64(lines), "ns/taken")
	if n := l.Account().Sums[0].Requests(); n != uint64(lines) {
		b.Errorf("%d of %d lines were counted", n, lines)
	}
}
