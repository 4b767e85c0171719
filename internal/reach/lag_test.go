package reach

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

// pathsOf gives the paths of controllers by words: "a: b c/400 d!30 e!100" says
// that a reaches b in a millisecond, c in 400, and d and e with 30 and 100 % lost.
func pathsOf(lines string) map[string][]status.Path {
	all := map[string][]status.Path{}
	for line := range strings.Lines(lines) {
		controller, hosts, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		for word := range strings.FieldsSeq(hosts) {
			all[controller] = append(all[controller], pathOf(word))
		}
	}
	return all
}

func pathOf(word string) status.Path {
	p := status.Path{Sent: status.PathWindow, RTT: time.Millisecond}
	host, share, lossy := strings.Cut(word, "!")
	host, ms, late := strings.Cut(host, "/")
	p.Host, p.Address = host, host
	if late {
		p.RTT, _ = time.ParseDuration(ms + "ms")
	}
	if lossy {
		percent, _ := time.ParseDuration(share + "ns")
		p.Lost = int(percent) * p.Sent / 100
		p.Lasting = float64(percent) / 100
	}
	if p.Lost == p.Sent {
		p.RTT, p.Silent = 0, p.Sent
	}
	return p
}

// lagOfA finds the lag of the controller a.
func lagOfA(all map[string][]status.Path) Lag {
	var others []View
	for controller, paths := range all {
		others = append(others, View{Controller: controller, Paths: paths})
	}
	return FindLag(View{Controller: "a", Paths: all["a"]}, others)
}

// TestFindLag says whose link it is, if it is anybody's.
func TestFindLag(t *testing.T) {
	for _, tt := range []struct{ name, paths, want string }{
		{"all is well", "a: b c d\nb: a c d\nc: a b d", ""},
		{
			"a link that loses",
			"a: b!50 c!45 d!50\nb: a!50 c d\nc: a!50 b d",
			"up to 50 % of the connections from a to b, c, d get no answer at first, and from b, c all do",
		},
		{
			"a link that delays",
			"a: b/401 c/401\nb: a/401 c\nc: a/401 b",
			"connections from a to b, c take up to 400ms longer than from b, c",
		},
		{
			"both",
			"a: b/401!20 c/401\nb: a/401 c\nc: a/401 b",
			"up to 20 % of the connections from a to b, c get no answer at first, the others take up to 400ms longer, and neither is so from b, c",
		},
		{
			"a filter, with hosts that nobody else has",
			"a: b c x!100 y!100 z!100\nb: a c x y z\nc: a b x y z",
			"up to 100 % of the connections from a to x, y, z get no answer at first, and from b, c all do",
		},
		{
			"two controllers lose: who does not is better",
			"a: b!50 c!60 x!50 y!50\nb: a!50 c!50 x y\nc: a!60 b!50 x!50 y!50",
			"up to 50 % of the connections from a to x, y get no answer at first, and from b all do",
		},
		{
			"two controllers and hosts of their own",
			"a: b!50 x!50 y!50\nb: a!50 x y",
			"up to 50 % of the connections from a to x, y get no answer at first, and from b all do",
		},
		{
			"the next one's link is bad, too",
			"a: b/900 c/600 x/600 y/600\nb: a/900 c/300 x/300 y/300\nc: a/600 b/300 x y",
			"connections from a to b, c, x, y take up to 600ms longer than from c",
		},
		{
			"the next one is better to one host alone",
			"a: b c x/400 y/400 z/400\nb: a c x y/310 z/310\nc: a b x y z",
			"connections from a to x, y, z take up to 399ms longer than from c",
		},
		{"two controllers alone: nobody knows which", "a: b!50\nb: a!50", ""},
		{"all controllers lose", "a: b!50 c!50 x!50\nb: a!50 c!50 x!50\nc: a!50 b!50 x!50", ""},
		{"one host loses for everybody", "a: b c x!50\nb: a c x!30\nc: a b x!40", ""},
		{"one host is late for everybody", "a: b c x/900\nb: a c x/700\nc: a b x/750", ""},
		{"one host is late for one", "a: b c x/900\nb: a c x\nc: a b x", ""},
		{"another controller loses", "a: b c!50 x\nb: a c!50 x\nc: a!50 b!50 x!50", ""},
		{"another controller delays", "a: b c/400 x\nb: a c/400 x\nc: a/400 b/400 x/400", ""},
		{"one way of three is bad", "a: b c!50\nb: a c\nc: a!50 b", ""},
		{"half of the hosts", "a: b c x!50 y!50\nb: a c x y\nc: a b x y", ""},
		{"a little loss", "a: b!10 c!10 x!10\nb: a c x\nc: a b x", ""},
		{"less than 100 ms", "a: b/90 c/99 x/100\nb: a c x\nc: a b x", ""},
		{"a host that is far for all, and farther for one", "a: b c x/300\nb: a c x/210\nc: a b x/220", ""},
		{"the others lose a little, too", "a: b!50 c!50 x!50\nb: a c!5 x!5\nc: a b!5 x!5", ""},
		{"nothing is known of the others", "a: b!50 c!50 x!50", ""},
	} {
		if got := lagOfA(pathsOf(tt.paths)).String(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestFindLagOfFew concludes nothing from a few handshakes.
func TestFindLagOfFew(t *testing.T) {
	for _, few := range []string{"a", "b"} {
		all := pathsOf("a: b!50 c!50 x!50\nb: a!50 c x\nc: a!50 b x")
		others := pathsOf("a: b!50 c!50 x!50\nb: a!50 c x")
		for i := range all[few] {
			all[few][i].Sent--
			others[few][i].Sent--
		}
		if got := lagOfA(others); len(got.Hosts) > 0 {
			t.Errorf("with one handshake too few of %s: %v", few, got)
		}
		if got := lagOfA(all); few == "b" && strings.Join(got.By, " ") != "c" {
			t.Errorf("with one handshake too few of b, by %v, want c", got.By)
		}
	}
}

// TestNoTakerWithABadLink names no better one that is worse to any host.
func TestNoTakerWithABadLink(t *testing.T) {
	lag := lagOfA(pathsOf("a: b!50 c!50 x!50 y!50 z\nb: a!50 c x y z/400\nc: a!50 b x y z"))
	if strings.Join(lag.By, " ") != "c" {
		t.Errorf("better are %v, want c: z is late from b", lag.By)
	}
}
