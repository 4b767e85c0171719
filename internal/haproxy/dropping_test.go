package haproxy_test

import (
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
)

// window is over which rows are compared here.
const window = 10 * time.Second

// uploads gives the row of a host in the backend for what cannot be sent again:
// so many good answers, requests that its resets ended, and those that HAProxy
// counts twice in one place, not in two.
func uploads(name string, good, reset, twice uint64) output.Row {
	r := answered(name, good, 0, 0)
	r.Proxy, r.CheckStatus = "nova:once", ""
	r.RespErr, r.ServerErr = reset+2*twice, reset
	return r
}

// uploadsOf gives the row of all hosts in that backend: connections that failed,
// clients that gave up, and requests without an answer.
func uploadsOf(refused, gaveUp, failed uint64) output.Row {
	r := backend(0)
	r.Proxy = "nova:once"
	r.ConnErr, r.ClientErr, r.RespErr, r.ServerErr = refused, gaveUp, failed, failed
	return r
}

func TestDropping(t *testing.T) {
	main := func(name string, good uint64) output.Row {
		r := answered(name, good, 0, 0)
		r.Since = time.Hour
		return r
	}
	young, down, drained := main("ctl1", 10), main("ctl3", 10), main("ctl3", 10)
	out := main("ctl1", 10)
	out.Status = "DOWN"
	young.Since = window - time.Second
	down.Status, drained.Status = "DOWN", "DRAIN"
	last := answered("ctl1:last", 7, 0, 0)
	for _, test := range []struct {
		name  string
		after []output.Row
		want  string // the host
		spare uint64
	}{
		{"one resets all, others do uploads well", []output.Row{main("ctl1", 10), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 6, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 8)}, "ctl1", 0},
		{"some are counted otherwise", []output.Row{main("ctl1", 10), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 3, 3), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 8)}, "ctl1", 0},
		{"clients that gave up, and what was refused, is told", []output.Row{main("ctl1", 10), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 6, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(2, 4, 9)}, "ctl1", 4},
		{"too few", []output.Row{main("ctl1", 10), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 5, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 7)}, "", 0},
		{"one upload went well", []output.Row{main("ctl1", 10), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 2, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"one GET went well", []output.Row{main("ctl1", 11), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"one went well as the last resort", []output.Row{main("ctl1", 10), last, main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"another host reset one, too", []output.Row{main("ctl1", 10), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 2, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 12)}, "", 0},
		{"no other host did an upload", []output.Row{main("ctl1", 10), main("ctl2", 30), main("ctl3", 30), uploads("ctl1", 1, 9, 0), uploads("ctl2", 1, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"another host is out", []output.Row{main("ctl1", 10), main("ctl2", 30), down, uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"another host is drained", []output.Row{main("ctl1", 10), main("ctl2", 30), drained, uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "ctl1", 0},
		{"it was out: what it had was cut", []output.Row{young, main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"out already", []output.Row{out, main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"a new process", []output.Row{main("ctl1", 9), main("ctl2", 30), main("ctl3", 10), uploads("ctl1", 1, 9, 0), uploads("ctl2", 9, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 11)}, "", 0},
		{"alone", []output.Row{main("ctl1", 10), uploads("ctl1", 1, 9, 0), uploadsOf(1, 1, 11)}, "", 0},
	} {
		before := []output.Row{main("ctl1", 10), main("ctl2", 10), main("ctl3", 10), answered("ctl1:last", 6, 0, 0)}
		before = append(before, uploads("ctl1", 1, 1, 0), uploads("ctl2", 1, 1, 0), uploads("ctl3", 1, 1, 0), uploadsOf(1, 1, 3))
		got := haproxy.Dropping(before, test.after, window)
		switch {
		case test.want == "" && len(got) > 0:
			t.Errorf("%s: %s, want none", test.name, got[0].Host.Name)
		case test.want == "":
		case len(got) != 1 || got[0].Host.Proxy != "nova" || got[0].Host.Name != test.want || got[0].Spare != test.spare:
			t.Errorf("%s: %+v, want %s, %d spare", test.name, got, test.want, test.spare)
		}
	}
}

// A service with a limit has one backend for all that it is asked.
func TestDroppingWithALimit(t *testing.T) {
	rows := func(good, reset uint64) []output.Row {
		a, b, all := answered("ctl1", 10, 0, 0), answered("ctl2", good, 0, 0), backend(0)
		a.Since, a.RespErr, a.ServerErr = time.Hour, reset, reset
		return []output.Row{a, b, all}
	}
	if got := haproxy.Dropping(rows(10, 1), rows(12, 6), window); len(got) != 1 || got[0].Host.Name != "ctl1" {
		t.Errorf("%+v, want ctl1", got)
	}
	if got := haproxy.Dropping(rows(10, 1), rows(10, 6), window); len(got) > 0 {
		t.Errorf("nobody asked the other: %+v", got)
	}
}

func TestClients(t *testing.T) {
	before := haproxy.ParseClients([]byte(`# table: nova:accepts, type: ipv6, size:10240, used:5
0x5580: key=::ffff:192.0.2.1 use=0 exp=9898 shard=0 gpc0=3 gpc1=3
0x5581: key=::ffff:192.0.2.2 use=1 exp=9898 gpc0=1 gpc1=0
0x5582: key=::ffff:192.0.2.3 use=0 exp=9898 gpc0=4 gpc1=1
0x5583: key=::ffff:192.0.2.4 use=0 exp=9898 gpc0=2 gpc1=2

`))
	// .1 got no answer once, .2's came, .3 got none long ago, .4's may still come, and 7 is new.
	after := haproxy.ParseClients([]byte(`# table: nova:accepts, type: ipv6, size:10240, used:6
0x5580: key=::ffff:192.0.2.1 use=0 exp=9898 shard=0 gpc0=7 gpc1=6
0x5581: key=::ffff:192.0.2.2 use=0 exp=9898 gpc0=1 gpc1=1
0x5582: key=::ffff:192.0.2.3 use=0 exp=9898 gpc0=6 gpc1=3
0x5583: key=::ffff:192.0.2.4 use=1 exp=9898 gpc0=3 gpc1=2
0x5584: key=2001:db8::7 use=0 exp=98 gpc0=1 gpc1=0
0x5585: key=2001:db8::8 use=0 exp=98 gpc0=5 gpc1=5

`))
	if n := after.Since(before); n != 2 {
		t.Errorf("%d clients, want 2: %+v", n, after)
	}
	for _, reply := range []string{"", "\n", "No such table\n"} {
		if all := haproxy.ParseClients([]byte(reply)); len(all) > 0 {
			t.Errorf("%q: %+v", reply, all)
		}
	}
}
