package busy

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// TestQueue has more requests than workers: so many at a time, the others in
// the order they came.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		p.Set(Behaviour{Workers: 2, Hold: 100 * ms})
		begin := time.Now()
		var mu sync.Mutex
		var order []int
		var ended []time.Duration
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				leave := p.Enter()
				mu.Lock()
				order, ended = append(order, i), append(ended, time.Since(begin))
				mu.Unlock()
				leave()
			})
			time.Sleep(ms) // one after the other
		}
		if got := p.Waiting(); got != 3 {
			t.Errorf("%d wait, want 3", got)
		}
		all.Wait()
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(order, want) {
			t.Errorf("answered in the order %v, want %v", order, want)
		}
		if want := []time.Duration{100 * ms, 101 * ms, 200 * ms, 201 * ms, 300 * ms}; !slices.Equal(ended, want) {
			t.Errorf("answered after %v, want %v", ended, want)
		}
	})
}

// TestCapacity does as many requests as its workers can, although each comes a
// little late to its turn, but makes no standstill good.
func TestCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		p.Set(Behaviour{Workers: 1, Hold: 100 * ms})
		enter := func(handling time.Duration) {
			leave := p.Enter()
			time.Sleep(handling)
			leave()
		}
		for _, tt := range []struct{ handling, want time.Duration }{
			{0, 1000 * ms},
			{3 * ms, 1003 * ms},  // the work of the next has begun already
			{50 * ms, 1500 * ms}, // each holds its worker for longer
		} {
			begin := time.Now()
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { enter(tt.handling) })
			}
			all.Wait()
			if got := time.Since(begin); got != tt.want {
				t.Errorf("10 requests, each handled in %v: %v, want %v", tt.handling, got, tt.want)
			}
		}
	})
}

// TestNoLimit has a worker for everybody, and lets those who wait go on when
// there was a limit.
func TestNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		p.Set(Behaviour{Hold: time.Second})
		begin := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { p.Enter()() })
		}
		all.Wait()
		if got := time.Since(begin); got != time.Second {
			t.Errorf("100 at a time took %v, want 1s", got)
		}
		p.Set(Behaviour{Workers: 1, Hold: time.Hour})
		for range 10 {
			all.Go(func() { p.Enter()() })
		}
		synctest.Wait()
		begin = time.Now()
		p.Set(Behaviour{})
		synctest.Wait()
		if got := p.Waiting(); got != 0 {
			t.Errorf("%d wait still", got)
		}
		all.Wait()
		if got := time.Since(begin); got != time.Hour {
			t.Errorf("who had the worker kept it for %v, want an hour", got)
		}
	})
}

// TestAdmits takes so many requests a second and no more.
func TestAdmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			b    Behaviour
			want int // of 1,000 in ten seconds
		}{
			{Behaviour{}, 1000},
			{Behaviour{Limited: true, Rate: 20}, 201}, // with what may come at once
			{Behaviour{Limited: true, Rate: 1}, 10},
			{Behaviour{Limited: true}, 0},
			{Behaviour{Limited: true, Rate: 5000}, 1000},
		} {
			var p Pool
			p.Set(tt.b)
			got := 0
			for range 1000 {
				if p.Admits() {
					got++
				}
				time.Sleep(10 * ms)
			}
			if got != tt.want {
				t.Errorf("%+v: %d of 1000 taken, want %d", tt.b, got, tt.want)
			}
		}
	})
}

func TestParse(t *testing.T) {
	if n, d, err := ParseWorkers("8x100ms"); n != 8 || d != 100*ms || err != nil {
		t.Errorf("8x100ms: %d, %v, %v", n, d, err)
	}
	for _, bad := range []string{"", "8", "x", "8x", "x1s", "0x1s", "-1x1s", "8x-1s", "8x100", "10001x1s", "1x2h"} {
		if n, d, err := ParseWorkers(bad); err == nil {
			t.Errorf("%q gave %d, %v", bad, n, d)
		}
	}
	if d, err := ParseHold("300ms"); d != 300*ms || err != nil {
		t.Errorf("300ms: %v, %v", d, err)
	}
	for _, bad := range []string{"", "3", "-1s", "2h"} {
		if d, err := ParseHold(bad); err == nil {
			t.Errorf("%q gave %v", bad, d)
		}
	}
	for _, good := range []string{"2.5", "2.5/s"} {
		if r, err := ParseRate(good); r != 2.5 || err != nil {
			t.Errorf("%s: %v, %v", good, r, err)
		}
	}
	for _, bad := range []string{"", "-1", "NaN", "x", "100001"} {
		if r, err := ParseRate(bad); err == nil {
			t.Errorf("%q gave %v", bad, r)
		}
	}
}

func TestString(t *testing.T) {
	for want, b := range map[string]Behaviour{
		"":                        {},
		"late":                    {Hold: ms},
		"busy":                    {Workers: 1, Hold: ms},
		"busy, push-back, closes": {Workers: 1, Limited: true, Closes: true},
	} {
		if got := b.String(); got != want {
			t.Errorf("%+v: %q, want %q", b, got, want)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nova.behaviour")
	if b, err := ReadFile(path); b != (Behaviour{}) || err != nil {
		t.Errorf("no file: %+v, %v", b, err)
	}
	want := Behaviour{Workers: 8, Hold: 100 * ms, Limited: true, Rate: 2.5, Closes: true}
	if err := want.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(path); b != want || err != nil {
		t.Errorf("%+v, %v, want %+v", b, err, want)
	}
}

// TestCounter goes on where the one before it ended.
func TestCounter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nova.counts")
	for range 2 {
		c, err := OpenCounter(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []Counts{{Requests: 1, Keyed: 1}, {Requests: 1}, {Checks: 1}} {
			if err := c.Count(more); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadCounts(path)
	if want := (Counts{4, 2, 2}); got != want || err != nil {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if got := got.Sub(Counts{1, 1, 1}); got != (Counts{3, 1, 1}) {
		t.Errorf("since then %+v", got)
	}
	if got, err := ReadCounts(path + ".none"); got != (Counts{}) || err != nil {
		t.Errorf("no file: %+v, %v", got, err)
	}
}
