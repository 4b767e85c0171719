package haproxy_test

import (
	"slices"
	"testing"

	"holdfast/internal/haproxy"
)

// answered gives the row of a server that is up and gave so many good answers
// and failures.
func answered(name string, good, bad uint64) haproxy.Server {
	return haproxy.Server{
		Kind: haproxy.KindServer, Proxy: "nova", Name: name, Status: "UP", CheckStatus: "L7OK",
		Responses: [6]uint64{2: good / 2, 4: good - good/2, 5: bad},
	}
}

func TestFailing(t *testing.T) {
	repeated := answered("ctl1", 10, 10)
	repeated.Redisp = 5 // answers that no client saw
	down := answered("ctl1", 10, 30)
	down.Status = "DOWN"
	for _, test := range []struct {
		name  string
		after []haproxy.Server
		want  []string
	}{
		{"one fails alone", []haproxy.Server{answered("ctl1", 10, 15), answered("ctl2", 30, 10)}, []string{"ctl1"}},
		{"its failures are repeated elsewhere", []haproxy.Server{repeated, answered("ctl2", 30, 10)}, []string{"ctl1"}},
		{"one good answer", []haproxy.Server{answered("ctl1", 11, 15), answered("ctl2", 30, 10)}, nil},
		{"too little to tell", []haproxy.Server{answered("ctl1", 10, 14), answered("ctl2", 30, 10)}, nil},
		{"all fail: it is the requests", []haproxy.Server{answered("ctl1", 10, 30), answered("ctl2", 10, 30)}, nil},
		{"the others fail often", []haproxy.Server{answered("ctl1", 10, 30), answered("ctl2", 18, 12)}, nil},
		{"nobody asks the others", []haproxy.Server{answered("ctl1", 10, 30), answered("ctl2", 10, 10)}, nil},
		{"alone", []haproxy.Server{answered("ctl1", 10, 30)}, nil},
		{"down already", []haproxy.Server{down, answered("ctl2", 30, 10)}, nil},
		{"a new process", []haproxy.Server{answered("ctl1", 0, 9), answered("ctl2", 9, 0)}, nil},
		{"a new server", []haproxy.Server{answered("ctl9", 0, 9), answered("ctl2", 30, 10)}, nil},
	} {
		before := []haproxy.Server{answered("ctl1", 10, 10), answered("ctl2", 10, 10)}
		var got []string
		for _, r := range haproxy.Failing(before, test.after) {
			got = append(got, r.Name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// The second backend's server follows the first's, but for one that was added
// without a reload, which is checked by itself.
func TestFailingInBothBackends(t *testing.T) {
	once := func(checks string, bad uint64) haproxy.Server {
		r := answered("ctl1", 0, bad)
		r.Proxy, r.CheckStatus = "nova:once", checks
		return r
	}
	for checks, want := range map[string]int{"": 1, "L7OK": 2} {
		before := []haproxy.Server{answered("ctl1", 10, 10), answered("ctl2", 10, 10), once(checks, 5)}
		after := []haproxy.Server{answered("ctl1", 10, 12), answered("ctl2", 30, 10), once(checks, 8)}
		if got := haproxy.Failing(before, after); len(got) != want {
			t.Errorf("checks %q: %d rows, want %d", checks, len(got), want)
		}
	}
}
