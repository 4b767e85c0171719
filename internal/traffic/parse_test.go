package traffic_test

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/traffic"
)

// Lines as HAProxy 2.6.12 wrote them.
const (
	good       = `127.0.0.1:51292 [01/Dec/2026:11:40:33.930] api-v4-nova nova/ctl1 0/0/0/4/4 200 50 - - ---- 1/1/0/0/+1 0/0 "GET / HTTP/1.1"`
	local      = `127.0.0.1:51298 [01/Dec/2026:11:40:33.943] api-v4-nova api-v4-nova/<NOSRV> 0/-1/-1/-1/0 200 72 - - LR-- 1/1/0/0/0 0/0 "GET /own HTTP/1.1"`
	denied     = `127.0.0.1:43204 [01/Dec/2026:11:40:33.951] api-v4-nova api-v4-nova/<NOSRV> 0/-1/-1/-1/0 403 192 - - PR-- 1/1/0/0/0 0/0 "GET /deny HTTP/1.1"`
	noHost     = `127.0.0.1:43212 [01/Dec/2026:11:40:33.959] api-v4-nova nova/<NOSRV> 0/-1/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 "GET /none HTTP/1.1"`
	refused    = `127.0.0.1:43222 [01/Dec/2026:11:40:33.967] api-v4-nova nova/a 0/906/-1/-1/906 503 217 - - SC-- 1/1/0/0/3 0/0 "GET /refuse HTTP/1.1"`
	dropped    = `127.0.0.1:43234 [01/Dec/2026:11:40:34.889] api-v4-nova nova/a 0/0/0/-1/0 502 209 - - SH-- 1/1/0/0/3 0/0 "GET /drop HTTP/1.1"`
	fault      = `127.0.0.1:43238 [01/Dec/2026:11:40:34.898] api-v4-nova nova/a 0/0/0/0/1 500 35 - - ---- 1/1/0/0/+3 0/0 "GET /500 HTTP/1.1"`
	junk       = `127.0.0.1:43248 [01/Dec/2026:11:40:34.906] api-v4-nova nova/a 0/0/0/-1/0 502 209 - - PH-- 1/1/0/0/+1 0/0 "GET /junk HTTP/1.1"`
	cut        = `127.0.0.1:43264 [01/Dec/2026:11:40:34.914] api-v4-nova nova/a 0/0/0/0/0 200 52 - - SD-- 1/1/0/0/+1 0/0 "GET /cut HTTP/1.1"`
	slow       = `127.0.0.1:43272 [01/Dec/2026:11:40:34.922] api-v4-nova nova/a 0/0/0/-1/501 504 198 - - sH-- 1/1/0/0/+1 0/0 "GET /slow HTTP/1.1"`
	queued     = `127.0.0.1:43278 [01/Dec/2026:11:40:35.661] api-v4-nova nova/<NOSRV> 0/201/-1/-1/201 503 217 - - sQ-- 4/4/2/0/0 0/1 "GET /q/slow HTTP/1.1"`
	half       = `127.0.0.1:34978 [01/Dec/2026:11:40:56.030] api-v4-nova api-v4-nova/<NOSRV> -1/-1/-1/-1/0 400 0 - - CR-- 1/1/0/0/0 0/0 "<BADREQ>"`
	bad        = `127.0.0.1:34984 [01/Dec/2026:11:40:56.035] api-v4-nova api-v4-nova/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 1/1/0/0/0 0/0 "<BADREQ>"`
	silent     = `127.0.0.1:35008 [01/Dec/2026:11:40:56.953] api-v4-nova api-v4-nova/<NOSRV> -1/-1/-1/-1/401 408 0 - - cR-- 1/1/0/0/0 0/0 "<BADREQ>"`
	tls        = `[2001:db8::9]:44034 [01/Dec/2026:11:40:37.438] api-v6-nova~ nova:even/ctl2:last 3/4/0/1/8 200 50 - - ---- 1/1/0/0/1 0/0 "GET / HTTP/2.0"`
	handshake  = `127.0.0.1:44024 [01/Dec/2026:11:40:37.426] api-v4-nova/1: SSL handshake failure`
	tcp        = `127.0.0.1:54024 [01/Dec/2026:11:40:36.893] api-v4-db db/ctl1 1/0/1 39 -- 1/1/0/0/0 0/0`
	tcpIdle    = `127.0.0.1:54032 [01/Dec/2026:11:40:36.908] api-v4-db db/ctl1 1/5/508 0 cD 1/1/0/0/0 0/0`
	tcpNoHost  = `127.0.0.1:54032 [01/Dec/2026:11:40:36.908] api-v4-db db/<NOSRV> -1/-1/0 0 SC 1/1/0/0/0 0/0`
	tcpCut     = `127.0.0.1:54032 [01/Dec/2026:11:40:36.908] api-v4-db db/ctl1 1/5/508 900 SD 1/1/0/0/0 0/0`
	gaveUp     = `127.0.0.1:54032 [01/Dec/2026:11:40:36.908] api-v4-nova nova/ctl1 0/0/1/-1/3000 -1 0 - - CH-- 1/1/0/0/0 0/0 "GET / HTTP/1.1"`
	killed     = `127.0.0.1:54032 [01/Dec/2026:11:40:36.908] api-v4-nova nova/ctl1 0/0/1/-1/3000 -1 0 - - KH-- 1/1/0/0/0 0/0 "GET / HTTP/1.1"`
	noMemory   = `127.0.0.1:54032 [01/Dec/2026:11:40:36.908] api-v4-nova nova/<NOSRV> 0/-1/-1/-1/0 500 0 - - RC-- 1/1/0/0/0 0/0 "GET / HTTP/1.1"`
	serverDown = `Server nova/ctl1 is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms.`
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, line string
		kind       traffic.Line
		outcome    traffic.Outcome
		cause      string
		status     int
		first      time.Duration // negative: none
		felt       bool
	}{
		{"good", good, traffic.RequestLine, traffic.Answered, "", 200, 4 * time.Millisecond, false},
		{"local", local, traffic.RequestLine, traffic.Answered, "", 200, -1, false},
		{"denied", denied, traffic.RequestLine, traffic.Refused, "denied", 403, -1, false},
		{"no host", noHost, traffic.RequestLine, traffic.Refused, "no-host", 503, -1, true},
		{"refused", refused, traffic.RequestLine, traffic.Refused, "not-connected", 503, -1, true},
		{"dropped", dropped, traffic.RequestLine, traffic.Refused, "no-answer", 502, -1, true},
		{"500", fault, traffic.RequestLine, traffic.Failed, "", 500, 0, true},
		{"junk", junk, traffic.RequestLine, traffic.Refused, "bad-answer", 502, -1, true},
		{"cut", cut, traffic.RequestLine, traffic.Cut, "", 200, 0, true},
		{"slow", slow, traffic.RequestLine, traffic.Refused, "answer-timeout", 504, -1, true},
		{"queued", queued, traffic.RequestLine, traffic.Refused, "queue-timeout", 503, -1, true},
		{"half", half, traffic.RequestLine, traffic.Noise, "", 400, -1, false},
		{"bad", bad, traffic.RequestLine, traffic.Refused, "bad-request", 400, -1, false},
		{"silent", silent, traffic.RequestLine, traffic.Noise, "request-timeout", 408, -1, false},
		{"tls", tls, traffic.RequestLine, traffic.Answered, "", 200, 5 * time.Millisecond, false},
		{"handshake", handshake, traffic.HandshakeLine, 0, "", 0, -1, false},
		{"tcp", tcp, traffic.SessionLine, traffic.Answered, "", 0, -1, false},
		{"tcp idle", tcpIdle, traffic.SessionLine, traffic.Answered, "", 0, -1, false},
		{"tcp no host", tcpNoHost, traffic.SessionLine, traffic.Refused, "no-host", 0, -1, true},
		{"tcp cut", tcpCut, traffic.SessionLine, traffic.Cut, "", 0, -1, true},
		{"gave up", gaveUp, traffic.RequestLine, traffic.GaveUp, "", 0, -1, false},
		{"killed", killed, traffic.RequestLine, traffic.Cut, "", 0, -1, true},
		{"no memory", noMemory, traffic.RequestLine, traffic.Refused, "no-resource", 500, -1, true},
		{"server down", serverDown, traffic.OtherLine, 0, "", 0, -1, false},
		{"empty", "", traffic.OtherLine, 0, "", 0, -1, false},
		{"cut short", good[:70], traffic.OtherLine, 0, "", 0, -1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r traffic.Record
			if kind := traffic.Parse([]byte(test.line+"\n"), &r); kind != test.kind {
				t.Fatalf("kind %d, want %d", kind, test.kind)
			}
			if test.kind != traffic.RequestLine && test.kind != traffic.SessionLine {
				return
			}
			outcome, cause := r.Outcome()
			first, ok := r.FirstByte()
			if !ok {
				first = -1
			}
			if outcome != test.outcome || cause.String() != test.cause || r.Status != test.status || first != test.first || r.Felt(outcome) != test.felt {
				t.Errorf("outcome %d, cause %q, status %d, first byte %v, felt %v; want %d, %q, %d, %v, %v",
					outcome, cause, r.Status, first, r.Felt(outcome), test.outcome, test.cause, test.status, test.first, test.felt)
			}
		})
	}
}

func TestParseNames(t *testing.T) {
	var r traffic.Record
	traffic.Parse([]byte(tls), &r)
	if string(r.Frontend) != "api-v6-nova" || string(r.Backend) != "nova:even" || string(r.Server) != "ctl2:last" || r.Retries != 1 || r.Redispatched {
		t.Errorf("read %q %q %q, %d retries, redispatched %v", r.Frontend, r.Backend, r.Server, r.Retries, r.Redispatched)
	}
	traffic.Parse([]byte(fault), &r)
	if r.Retries != 3 || !r.Redispatched {
		t.Errorf("%d retries, redispatched %v; want 3, true", r.Retries, r.Redispatched)
	}
}

// A line that is cut short behind the termination state, as by "len", still counts.
func TestParseShort(t *testing.T) {
	var r traffic.Record
	short, _, _ := strings.Cut(good, ` 0/0 "GET`)
	if kind := traffic.Parse([]byte(short[:len(short)-4]), &r); kind != traffic.RequestLine || r.Retries != 0 {
		t.Errorf("kind %d, %d retries", kind, r.Retries)
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	book := traffic.NewBook()
	book.Use(map[string]traffic.Key{"api-v4-nova": {Service: "nova", VIP: "api", Interface: "public"}})
	line, at := []byte(refused), time.Unix(1_800_000_000, 0)
	if n := testing.AllocsPerRun(100, func() { book.AddLine(at, line) }); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}

// Of a frontend that many services share a request is that of the service whose backend had
// it; what HAProxy answered itself is nobody's.
func TestSharedFrontend(t *testing.T) {
	book := traffic.NewBook()
	book.Use(map[string]traffic.Key{
		"api-v4:public/nova":   {Service: "nova", VIP: "api", Interface: "public"},
		"api-v4:public/glance": {Service: "glance", VIP: "api", Interface: "public"},
	})
	at := time.Unix(1_800_000_000, 0)
	line := func(backend, server string) []byte {
		return []byte("1.2.3.4:5 [01/Jan/2026:00:00:00.000] api-v4:public~ " + backend + "/" + server + ` 0/0/0/1/1 200 1 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"`)
	}
	for _, l := range [][]byte{line("nova", "a"), line("nova:once", "a"), line("glance:even", "b"), line("api-v4:public", "<NOSRV>")} {
		book.AddLine(at, l)
	}
	counts := map[string]uint64{}
	for _, s := range book.Sums() {
		counts[s.Service] = s.Requests()
	}
	if counts["nova"] != 2 || counts["glance"] != 1 {
		t.Errorf("counted %v", counts)
	}
	long := line("nova:once", "a")
	if n := testing.AllocsPerRun(100, func() { book.AddLine(at, long) }); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{good, local, refused, tls, handshake, tcp, tcpCut, gaveUp, serverDown, half} {
		f.Add([]byte(line))
	}
	book := traffic.NewBook()
	book.Use(map[string]traffic.Key{"api-v4-nova": {Service: "nova"}, "api-v4-db": {Service: "db"}})
	at := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, line []byte) {
		var r traffic.Record
		kind := traffic.Parse(line, &r)
		if kind == traffic.RequestLine || kind == traffic.SessionLine {
			if len(r.Frontend) == 0 || len(r.Backend) == 0 || len(r.Server) == 0 || r.Status < 0 || r.Status > 999 || r.Retries < 0 {
				t.Errorf("%q gave %+v", line, r)
			}
		}
		at = at.Add(time.Millisecond)
		book.AddLine(at, line)
		if c := book.Cost(at.Add(-time.Minute), at); c.Failed > c.Requests || c.Gap < 0 || c.Gap > time.Minute+20*time.Millisecond {
			t.Errorf("after %q the cost is %+v", line, c)
		}
	})
}

func BenchmarkAddLine(b *testing.B) {
	book := traffic.NewBook()
	book.Use(map[string]traffic.Key{"api-v4-nova": {Service: "nova", VIP: "api", Interface: "public"}})
	line, at := []byte(good), time.Unix(1_800_000_000, 0)
	for b.Loop() {
		at = at.Add(time.Millisecond)
		book.AddLine(at, line)
	}
}
