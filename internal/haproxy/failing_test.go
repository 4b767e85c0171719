package haproxy_test

import (
	"slices"
	"testing"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
)

// answered gives the row of a server that is up, gave so many good answers and
// failures, and had so many requests sent again elsewhere.
func answered(name string, good, bad, again uint64) output.Row {
	return output.Row{
		Kind: output.KindServer, Proxy: "nova", Name: name, Status: "UP", CheckStatus: "L7OK",
		Responses: [6]uint64{2: good / 2, 4: good - good/2, 5: bad}, Redisp: again,
	}
}

// backend gives the row of all servers together, which clients got so many
// failures from.
func backend(bad uint64) output.Row {
	return output.Row{Kind: output.KindBackend, Proxy: "nova", Name: "BACKEND", Status: "UP", Responses: [6]uint64{5: bad}}
}

func TestFailing(t *testing.T) {
	down := answered("ctl1", 10, 0, 30)
	down.Status = "DOWN"
	posts := func(good, bad uint64) output.Row {
		r := answered("ctl1", good, bad, 0)
		r.Proxy, r.CheckStatus = "nova:once", ""
		return r
	}
	// even gives what all requests of a slow service go through: a host's row, or that
	// of all hosts together.
	even := func(kind output.Kind, name string, good, bad, again uint64) output.Row {
		r := answered(name, good, bad, again)
		r.Kind, r.Proxy, r.CheckStatus = kind, "nova:even", ""
		return r
	}
	slow := func(bad1, again1, bad2 uint64) []output.Row {
		return []output.Row{
			answered("ctl1", 10, 0, 10), answered("ctl2", 10, 0, 10), backend(0),
			even(output.KindServer, "ctl1", 5, bad1, again1), even(output.KindServer, "ctl2", 30, bad2, 0),
			even(output.KindBackend, "BACKEND", 35, bad1+bad2, 0),
		}
	}
	for _, test := range []struct {
		name  string
		after []output.Row
		want  []string
	}{
		{"one fails alone, what it fails is served elsewhere", []output.Row{answered("ctl1", 10, 0, 15), answered("ctl2", 30, 0, 10), backend(0)}, []string{"ctl1"}},
		{"one good answer", []output.Row{answered("ctl1", 11, 0, 15), answered("ctl2", 30, 0, 10), backend(0)}, nil},
		{"one good answer to a POST", []output.Row{answered("ctl1", 10, 0, 15), answered("ctl2", 30, 0, 10), posts(2, 0), backend(0)}, nil},
		{"too little to tell", []output.Row{answered("ctl1", 10, 0, 14), answered("ctl2", 30, 0, 10), backend(0)}, nil},
		{"one client's POSTs fail", []output.Row{answered("ctl1", 10, 0, 10), answered("ctl2", 30, 0, 10), posts(1, 90), backend(0)}, nil},
		{"a GET that fails everywhere, beside good traffic of others", []output.Row{answered("ctl1", 10, 0, 30), answered("ctl2", 300, 10, 20), backend(10)}, nil},
		{"hosts close without an answer, wherever it goes", []output.Row{answered("ctl1", 10, 0, 30), answered("ctl2", 300, 0, 20), backend(10)}, nil},
		{"all fail: it is what is behind them", []output.Row{answered("ctl1", 10, 20, 30), answered("ctl2", 10, 20, 30), backend(40)}, nil},
		{"nobody asks the others", []output.Row{answered("ctl1", 10, 0, 30), answered("ctl2", 10, 0, 10), backend(0)}, nil},
		{"slow: one fails alone, POSTs and GETs", slow(20, 15, 0), []string{"ctl1"}},
		{"slow: POSTs fail everywhere", slow(20, 15, 20), nil},
		{"slow: GETs that fail everywhere", slow(0, 15, 15), nil},
		{"alone", []output.Row{answered("ctl1", 10, 0, 30), backend(0)}, nil},
		{"down already", []output.Row{down, answered("ctl2", 30, 0, 10), backend(0)}, nil},
		{"a new process", []output.Row{answered("ctl1", 0, 0, 9), answered("ctl2", 9, 0, 0), backend(0)}, nil},
		{"a new server", []output.Row{answered("ctl9", 0, 0, 9), answered("ctl2", 30, 0, 10), backend(0)}, nil},
	} {
		before := []output.Row{answered("ctl1", 10, 0, 10), answered("ctl2", 10, 0, 10), posts(1, 0), backend(0)}
		before = append(before, even(output.KindServer, "ctl1", 5, 0, 0), even(output.KindServer, "ctl2", 5, 0, 0), even(output.KindBackend, "BACKEND", 10, 0, 0))
		var got []string
		for _, r := range haproxy.Failing(before, test.after) {
			got = append(got, r.Name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
