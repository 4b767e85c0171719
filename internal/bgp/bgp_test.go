package bgp_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/internal/bgp"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// Each testdata/*.txt is a transcript: a line "+TIME key=value ..." changes what the
// controller knows that much later, and the lines below it, which begin with "=", are what
// is decided then. Between two lines the machine turns every 100 ms, and each change of the
// decision is told with its time.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(data))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(data) {
				t.Errorf("got:\n%s\nwant:\n%s", got, data)
			}
		})
	}
}

// play gives a transcript with what is decided now.
func play(t *testing.T, text string) string {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now, facts := start, bgp.Facts{}
	restart := time.Duration(0)
	if strings.Contains(text, "started again") {
		restart = 5 * time.Second
	}
	m := bgp.NewMachine(start, time.Minute, restart)
	told := ""
	var out strings.Builder
	turn := func() {
		d := m.Step(now, facts)
		line := fmt.Sprintf("= %v %s", d.State, flags(d))
		if d.Reason != "" {
			line += ": " + d.Reason
		}
		if line != told {
			fmt.Fprintf(&out, "%s (at %v, since %v)\n", line, now.Sub(start), d.Since.Sub(start))
			told = line
		}
	}
	for line := range strings.Lines(text) {
		rest, isEvent := strings.CutPrefix(line, "+")
		switch {
		case strings.HasPrefix(line, "="):
			continue
		case !isEvent:
			out.WriteString(line)
			continue
		}
		words := strings.Fields(rest)
		wait, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		for end := now.Add(wait); now.Before(end); {
			if now = now.Add(100 * time.Millisecond); now.Before(end) {
				turn()
			}
		}
		out.WriteString(line)
		for _, word := range words[1:] {
			set(t, &facts, word)
		}
		turn()
	}
	return out.String()
}

func flags(d bgp.Decision) string {
	all := ""
	for _, f := range []struct {
		is   bool
		name string
	}{{d.Address, "address"}, {d.Route, "route"}, {d.Shutdown, "shutdown"}, {d.Closing, "closing"}} {
		if f.is {
			all += "," + f.name
		}
	}
	return "[" + strings.TrimPrefix(all, ",") + "]"
}

func set(t *testing.T, f *bgp.Facts, word string) {
	t.Helper()
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "unfit":
		f.Unfit = value
	case "drained":
		f.Drained = value
	case "leaving":
		f.Leaving = value
	case "checked":
		f.Checked = value == "yes"
	case "serves":
		f.Serves = value == "yes"
	case "connections":
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		f.Connections = n
	default:
		t.Fatalf("%q says nothing", word)
	}
}

func cloud(order spec.Order, communities ...uint32) (*spec.Spec, spec.VIP) {
	v := spec.VIP{
		Name: "api", Announce: spec.AnnounceBGP, Order: order, Prefer: []string{"b", "a", "c"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.10/32"), netip.MustParsePrefix("2001:db8::10/128")},
	}
	s := &spec.Spec{VIPs: []spec.VIP{v}, BGP: &spec.BGP{Communities: communities}}
	for _, name := range []string{"a", "b", "c"} {
		s.Controllers = append(s.Controllers, spec.Controller{Name: name})
	}
	return s, v
}

func TestRoutes(t *testing.T) {
	four, six := netip.MustParsePrefix("203.0.113.10/32"), netip.MustParsePrefix("2001:db8::10/128")
	on := bgp.Decision{State: bgp.Announced, Address: true, Route: true}
	leaving := bgp.Decision{State: bgp.Draining, Address: true, Route: true, Shutdown: true}
	for _, c := range []struct {
		name       string
		order      spec.Order
		controller string
		decision   bgp.Decision
		with       []uint32
		want       bgp.Route // of each address
		none       bool
	}{
		{"equal", spec.OrderEqual, "c", on, nil, bgp.Route{}, false},
		{"communities", spec.OrderEqual, "c", on, []uint32{9, 3}, bgp.Route{Communities: []uint32{3, 9}}, false},
		{"first by MED", spec.OrderMED, "b", on, nil, bgp.Route{}, false},
		{"second by MED", spec.OrderMED, "a", on, nil, bgp.Route{MED: 10}, false},
		{"third by MED", spec.OrderMED, "c", on, nil, bgp.Route{MED: 20}, false},
		{"first by prepending", spec.OrderPrepend, "b", on, nil, bgp.Route{}, false},
		{"third by prepending", spec.OrderPrepend, "c", on, nil, bgp.Route{Prepend: 2}, false},
		{"draining", spec.OrderMED, "a", leaving, []uint32{7}, bgp.Route{MED: 10, Communities: []uint32{7, spec.GracefulShutdown}}, false},
		{"withdrawn", spec.OrderEqual, "a", bgp.Decision{State: bgp.Withdrawn}, nil, bgp.Route{}, true},
		{"lingering", spec.OrderEqual, "a", bgp.Decision{State: bgp.Lingering, Address: true}, nil, bgp.Route{}, true},
	} {
		s, v := cloud(c.order, c.with...)
		got := bgp.Routes(s, v, c.controller, c.decision)
		if c.none {
			if len(got) > 0 {
				t.Errorf("%s: routes %+v", c.name, got)
			}
			continue
		}
		for i, p := range []netip.Prefix{four, six} {
			want := c.want
			want.Prefix = p
			if len(got) != 2 || !got[i].Same(want) {
				t.Errorf("%s: %+v, want %+v in place %d", c.name, got, want, i)
			}
		}
	}
}

// TestPrependHasABound keeps AS_PATH short with many controllers.
func TestPrependHasABound(t *testing.T) {
	s, v := cloud(spec.OrderPrepend)
	v.Prefer, s.Controllers = nil, nil
	for i := range 30 {
		name := fmt.Sprint("c", i)
		v.Prefer = append(v.Prefer, name)
		s.Controllers = append(s.Controllers, spec.Controller{Name: name})
	}
	if got := bgp.Routes(s, v, "c29", bgp.Decision{Route: true}); got[0].Prepend != 9 {
		t.Errorf("the last of 30 prepends %d times", got[0].Prepend)
	}
}

func TestChange(t *testing.T) {
	a := bgp.Route{Prefix: netip.MustParsePrefix("192.0.2.1/32")}
	b := bgp.Route{Prefix: netip.MustParsePrefix("192.0.2.2/32")}
	other := a
	other.Communities = []uint32{spec.GracefulShutdown}
	for _, c := range []struct {
		name     string
		is, next []bgp.Route
		announce []bgp.Route
		withdraw []netip.Prefix
	}{
		{"nothing", []bgp.Route{a}, []bgp.Route{a}, nil, nil},
		{"a new one", []bgp.Route{a}, []bgp.Route{a, b}, []bgp.Route{b}, nil},
		{"one less", []bgp.Route{a, b}, []bgp.Route{b}, nil, []netip.Prefix{a.Prefix}},
		{"other attributes are no withdrawal", []bgp.Route{a}, []bgp.Route{other}, []bgp.Route{other}, nil},
	} {
		announce, withdraw := bgp.Change(c.is, c.next)
		if !reflect.DeepEqual(announce, c.announce) || !reflect.DeepEqual(withdraw, c.withdraw) {
			t.Errorf("%s: announce %v, withdraw %v", c.name, announce, withdraw)
		}
	}
}

func TestServices(t *testing.T) {
	s, v := cloud(spec.OrderEqual)
	other := v
	other.Name = "int"
	s.VIPs = append(s.VIPs, other)
	s.Services = []spec.Service{{Name: "keystone"}, {Name: "glance"}, {Name: "elsewhere", VIPs: []string{"int"}}}
	hosts := func(states ...status.ServiceState) (all []status.Host) {
		for _, s := range states {
			all = append(all, status.Host{State: s})
		}
		return all
	}
	for _, c := range []struct {
		name            string
		services        []status.Service
		checked, serves bool
	}{
		{"nothing is known", nil, false, false},
		{"one is not known", []status.Service{{Name: "keystone", Hosts: hosts(status.Up)}}, false, true},
		{"first checks", []status.Service{{Name: "keystone", Hosts: hosts(status.Up, status.Unknown)}, {Name: "glance", Hosts: hosts(status.Unknown)}}, false, true},
		{"all is well", []status.Service{{Name: "keystone", Hosts: hosts(status.Up, status.Down)}, {Name: "glance", Hosts: hosts(status.Up)}}, true, true},
		{"one service is down", []status.Service{{Name: "keystone", Hosts: hosts(status.Up)}, {Name: "glance", Hosts: hosts(status.Down)}}, true, true},
		{"all services are down", []status.Service{{Name: "keystone", Hosts: hosts(status.Down)}, {Name: "glance", Hosts: hosts(status.Drain)}}, true, false},
		{"one of another VIP is up", []status.Service{{Name: "keystone", Hosts: hosts(status.Down)}, {Name: "glance", Hosts: hosts(status.Down)}, {Name: "elsewhere", Hosts: hosts(status.Up)}}, true, false},
		{"those that fail their check serve", []status.Service{{Name: "keystone", Hosts: hosts(status.Down), LastResort: true}, {Name: "glance", Hosts: hosts(status.Down)}}, true, true},
	} {
		if checked, serves := bgp.Services(s, v, c.services); checked != c.checked || serves != c.serves {
			t.Errorf("%s: checked %v, serves %v", c.name, checked, serves)
		}
	}
}
