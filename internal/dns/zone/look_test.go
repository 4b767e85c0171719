package zone_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
	"holdfast/internal/dns/zone"
)

// serve runs a DNS server by UDP and TCP at addr until the test ends.
func serve(t *testing.T, addr netip.AddrPort, handle mdns.HandlerFunc) {
	t.Helper()
	packets, err := net.ListenPacket("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait) // after both were stopped
	for _, s := range []*mdns.Server{{PacketConn: packets, Handler: handle}, {Listener: listener, Handler: handle}} {
		s.MsgAcceptFunc = func(mdns.Header) mdns.MsgAcceptAction { return mdns.MsgAccept } // updates, too
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		wg.Go(func() {
			if err := s.ActivateAndServe(); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Errorf("stop the server: %v", err)
			}
		})
	}
}

// freeAddrs gives n loopback addresses with one port that is free on all of them.
func freeAddrs(t *testing.T, n int) []netip.AddrPort {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).AddrPort().Port()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var all []netip.AddrPort
		for i := range n {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}), port)
			if isFree(addr) {
				all = append(all, addr)
			}
		}
		if len(all) == n {
			return all
		}
	}
	t.Fatal("no port is free")
	return nil
}

func isFree(addr netip.AddrPort) bool {
	packets, err := net.ListenPacket("udp", addr.String())
	if err != nil {
		return false
	}
	l, err := net.Listen("tcp", addr.String())
	if err == nil {
		err = l.Close()
	}
	return packets.Close() == nil && err == nil
}

// zoneServer answers from records as a server of zone does: with authority, and
// with the SOA record where there is nothing.
func zoneServer(zone string, records ...string) mdns.HandlerFunc {
	var all []mdns.RR
	for _, text := range records {
		rr, err := mdns.NewRR(text)
		if err != nil {
			panic(err) // a mistake in the test itself
		}
		all = append(all, rr)
	}
	return func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg)
		m.SetReply(q)
		m.Authoritative = true
		name, exists := strings.ToLower(q.Question[0].Name), false
		for _, rr := range all {
			if rr.Header().Name != name {
				continue
			}
			exists = true
			if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == mdns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		switch {
		case !mdns.IsSubDomain(mdns.Fqdn(zone), name):
			m.Rcode, m.Authoritative = mdns.RcodeRefused, false
		case !exists:
			m.Rcode = mdns.RcodeNameError
			fallthrough
		case len(m.Answer) == 0:
			m.Ns = append(m.Ns, all[0])
		}
		if err := w.WriteMsg(m); err != nil {
			return // the client is gone
		}
	}
}

const soa = "example.org. 900 IN SOA ns1.example.org. hostmaster.example.org. 7 3600 600 86400 60"

func look(t *testing.T, l zone.Looker, hostname string) dns.View {
	t.Helper()
	if l.Timeout == 0 {
		l.Timeout = 5 * time.Second // the machine may be busy
	}
	l.Now = time.Now
	return l.Look(t.Context(), hostname)
}

// TestLookFindsTheServers: SOA, NS and addresses through the resolver, then
// every server directly: one good, one without the zone, one that is not there.
func TestLookFindsTheServers(t *testing.T) {
	at := freeAddrs(t, 4)
	records := []string{
		soa, "example.org. 900 IN NS ns1.example.org.", "example.org. 900 IN NS ns2.example.org.",
		"example.org. 900 IN NS ns3.example.org.", "example.org. 900 IN NS ns4.example.org.",
		"ns1.example.org. 900 IN A 127.0.0.1", "ns2.example.org. 900 IN A 127.0.0.2", "ns3.example.org. 900 IN A 127.0.0.3",
		"api.cloud.example.org. 600 IN A 10.0.0.13", "api.cloud.example.org. 300 IN AAAA 2001:db8::13",
		"cloud.example.org. 900 IN TXT empty",
	}
	serve(t, at[0], zoneServer("example.org", records...))
	serve(t, at[1], zoneServer("example.net", soa))
	serve(t, at[3], zoneServer("example.org", records...)) // as a resolver
	v := look(t, zone.Looker{Resolvers: at[3:], Port: at[0].Port()}, "api.cloud.example.org")
	if v.Zone != "example.org" || len(v.Servers) != 4 || len(v.Resolvers) != 1 {
		t.Fatalf("view: %+v", v)
	}
	first := v.Servers[0]
	if !first.Primary || first.Condition() != dns.Good || *first.Serial != 7 || first.NegativeTTL != 60 || first.String() != "ns1.example.org ("+at[0].String()+")" {
		t.Errorf("ns1: %+v", first)
	}
	want := dns.Records{{Type: "A", TTL: 600, Values: []string{"10.0.0.13"}}, {Type: "AAAA", TTL: 300, Values: []string{"2001:db8::13"}}}
	if got := first.Records(); !slices.EqualFunc(got, want, func(a, b dns.RRset) bool { return a.Type == b.Type && a.TTL == b.TTL && a.Values[0] == b.Values[0] }) {
		t.Errorf("records: %v", got)
	}
	if c := v.Servers[1].Condition(); c != dns.Lame {
		t.Errorf("ns2 is %s: %+v", c, v.Servers[1])
	}
	if c := v.Servers[2].Condition(); c != dns.Unreachable || !strings.Contains(v.Servers[2].A.Error, "connection refused") {
		t.Errorf("ns3 is %s: %+v", c, v.Servers[2])
	}
	if s := v.Servers[3]; s.Condition() != dns.Unreachable || s.Address.IsValid() || s.A.Error != "its name has no address" {
		t.Errorf("ns4: %+v", s)
	}
}

// TestLookHiddenPrimary: the SOA record names a server that no NS record names.
func TestLookHiddenPrimary(t *testing.T) {
	at := freeAddrs(t, 3)
	records := []string{
		strings.Replace(soa, "ns1", "hidden", 1), "example.org. 900 IN NS ns1.example.org.",
		"ns1.example.org. 900 IN A 127.0.0.1", "hidden.example.org. 900 IN A 127.0.0.2",
	}
	for _, a := range at {
		serve(t, a, zoneServer("example.org", records...))
	}
	v := look(t, zone.Looker{Resolvers: at[2:], Port: at[0].Port()}, "api.example.org")
	if len(v.Servers) != 2 || v.Servers[0].Primary || v.Servers[0].Hidden || !v.Servers[1].Primary || !v.Servers[1].Hidden {
		t.Errorf("by the SOA record: %+v", v.Servers)
	}
	v = look(t, zone.Looker{Resolvers: at[2:], Port: at[0].Port(), Primary: at[2]}, "api.example.org")
	if len(v.Servers) != 2 || v.Servers[0].Primary || v.Servers[1].Address != at[2] || !v.Servers[1].Primary || !v.Servers[1].Hidden {
		t.Errorf("by the flag: %+v", v.Servers)
	}
	v = look(t, zone.Looker{Resolvers: at[2:], Servers: at[:2], Primary: at[1]}, "api.example.org")
	if len(v.Servers) != 2 || v.Servers[0].Primary || !v.Servers[1].Primary || v.Servers[1].Hidden {
		t.Errorf("one of those named: %+v", v.Servers)
	}
}

func TestLookZoneNotFound(t *testing.T) {
	at := freeAddrs(t, 1)
	serve(t, at[0], zoneServer("", ". 900 IN SOA a.root. hostmaster.root. 7 1 1 1 60"))
	v := look(t, zone.Looker{Resolvers: at}, "api.example.org")
	if v.Zone != "" || !strings.Contains(v.ZoneError, "not even the top-level domain of api.example.org exists") {
		t.Errorf("only the root: %+v", v)
	}
	v = look(t, zone.Looker{}, "api.example.org")
	if v.Zone != "" || v.ZoneError != "there is no resolver to ask" {
		t.Errorf("without resolvers: %+v", v)
	}
	at = freeAddrs(t, 1)
	serve(t, at[0], zoneServer("example.net", soa))
	v = look(t, zone.Looker{Servers: at}, "api.example.org")
	if v.Zone != "" || !strings.Contains(v.ZoneError, "answers REFUSED when asked for the zone of api.example.org") {
		t.Errorf("a server of another zone: %+v", v)
	}
}

// TestLookAliasInZone: a SOA question for an alias is answered with the zone of
// its target; the zone is that of the alias itself all the same.
func TestLookAliasInZone(t *testing.T) {
	at := freeAddrs(t, 1)
	serve(t, at[0], func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg)
		m.SetReply(q)
		m.Authoritative = true
		add := func(section *[]mdns.RR, text string) {
			rr, err := mdns.NewRR(text)
			if err != nil {
				panic(err)
			}
			*section = append(*section, rr)
		}
		if q.Question[0].Name == "api.example.org." {
			add(&m.Answer, "api.example.org. 60 IN CNAME vip.example.net.")
			add(&m.Ns, "example.net. 60 IN SOA ns. hostmaster. 1 1 1 1 1")
		} else {
			add(&m.Answer, soa)
		}
		_ = w.WriteMsg(m)
	})
	v := look(t, zone.Looker{Servers: at}, "api.example.org")
	if v.Zone != "example.org" || len(v.Servers) != 1 || v.Servers[0].A.Alias != "vip.example.net" {
		t.Errorf("view: %+v", v)
	}
}

// TestLookOddServers: what some servers do to a question, and all of it is got over.
func TestLookOddServers(t *testing.T) {
	answer := func(w mdns.ResponseWriter, q *mdns.Msg) {
		zoneServer("example.org", soa, "api.example.org. 600 IN A 10.0.0.13")(w, q)
	}
	isUDP := func(w mdns.ResponseWriter) bool { return w.RemoteAddr().Network() == "udp" }
	var mu sync.Mutex
	seen := map[string]int{}
	first := func(q *mdns.Msg) bool {
		mu.Lock()
		defer mu.Unlock()
		key := mdns.TypeToString[q.Question[0].Qtype] + q.Question[0].Name
		seen[key]++
		return seen[key] == 1
	}
	for name, handle := range map[string]mdns.HandlerFunc{
		"does not fit into a datagram": func(w mdns.ResponseWriter, q *mdns.Msg) {
			if isUDP(w) {
				m := new(mdns.Msg)
				m.SetReply(q)
				m.Truncated = true
				_ = w.WriteMsg(m)
				return
			}
			answer(w, q)
		},
		"knows no EDNS": func(w mdns.ResponseWriter, q *mdns.Msg) {
			if q.IsEdns0() != nil {
				m := new(mdns.Msg)
				m.SetRcode(q, mdns.RcodeFormatError)
				_ = w.WriteMsg(m)
				return
			}
			answer(w, q)
		},
		"another id comes first": func(w mdns.ResponseWriter, q *mdns.Msg) {
			if isUDP(w) {
				m := new(mdns.Msg)
				m.SetReply(q)
				m.Id++
				m.Rcode = mdns.RcodeNameError
				_ = w.WriteMsg(m)
			}
			answer(w, q)
		},
		"rubbish, the first time": func(w mdns.ResponseWriter, q *mdns.Msg) {
			if first(q) {
				_, _ = w.Write([]byte{byte(q.Id >> 8), byte(q.Id), 0x84, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 0x0c})
				return
			}
			answer(w, q)
		},
		"another question, the first time": func(w mdns.ResponseWriter, q *mdns.Msg) {
			if first(q) {
				m := q.Copy()
				m.Response = true
				m.Question[0].Name = "evil.example.org."
				_ = w.WriteMsg(m)
				return
			}
			answer(w, q)
		},
	} {
		t.Run(name, func(t *testing.T) {
			clear(seen)
			at := freeAddrs(t, 1)
			serve(t, at[0], handle)
			v := look(t, zone.Looker{Servers: at}, "api.example.org")
			if len(v.Servers) != 1 || v.Servers[0].Condition() != dns.Good || v.Servers[0].A.Addresses[0].String() != "10.0.0.13" {
				t.Errorf("view: %+v", v)
			}
		})
	}
}

// TestLookSilentServer: one that never answers is given up after its time.
func TestLookSilentServer(t *testing.T) {
	at := freeAddrs(t, 2)
	serve(t, at[0], func(mdns.ResponseWriter, *mdns.Msg) {})
	v := look(t, zone.Looker{Servers: at[:1], Timeout: 50 * time.Millisecond}, "api.example.org")
	if v.Zone != "" || !strings.Contains(v.ZoneError, "nothing came within 50ms, tried 2 times") {
		t.Errorf("view: %+v", v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v := (zone.Looker{Servers: at[:1], Now: time.Now}).Look(ctx, "api.example.org"); v.Zone != "" {
		t.Errorf("cancelled: %+v", v)
	}
}

func TestReadResolvers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for _, c := range []struct{ text, want string }{
		{"# none\nsearch example.org\n", "127.0.0.1:53"},
		{"nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\noptions ndots:5\n", "192.0.2.1:53 [2001:db8::1]:53 192.0.2.3:53"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := zone.ReadResolvers(file)
		var got []string
		for _, a := range all {
			got = append(got, a.String())
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
	}
	if all, err := zone.ReadResolvers(file + ".not"); err != nil || len(all) != 1 || all[0].String() != "127.0.0.1:53" {
		t.Errorf("without the file: %v, %v", all, err)
	}
}

// TestUnsignedReply: who forges a reply to a signed message is not believed,
// whether it says that an update was made or what the records are.
func TestUnsignedReply(t *testing.T) {
	at := freeAddrs(t, 1)
	serve(t, at[0], zoneServer("example.org", soa, "api.example.org. 600 IN A 10.0.0.13"))
	keys, err := dns.ParseKeys("f", []byte("key k { algorithm hmac-sha256; secret c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0IQ==; };"))
	if err != nil {
		t.Fatal(err)
	}
	l := zone.Looker{Servers: at, Key: &keys[0], Timeout: 5 * time.Second, Now: time.Now}
	place := dns.Place{Hostname: "api.example.org", Zone: "example.org", Server: at[0]}
	err = zone.Updater{Looker: l}.Replace(t.Context(), place, nil, dns.Records{{Type: "A", TTL: 60, Values: []string{"10.0.0.10"}}})
	if want := "its reply is not signed with the key k (hmac-sha256)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("update: %v, want %q", err, want)
	}
	v := look(t, l, "api.example.org")
	if len(v.Servers) != 1 || v.Servers[0].Condition() != dns.KeyRefused || v.Servers[0].Records() != nil || !strings.Contains(v.Servers[0].A.Error, "its reply is not signed") {
		t.Errorf("look: %+v", v)
	}
}
