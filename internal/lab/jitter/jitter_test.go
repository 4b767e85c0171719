package jitter

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab/bench"
	cloud "holdfast/internal/spec"
)

func TestSpread(t *testing.T) {
	const ms = time.Millisecond
	var times []time.Duration
	for i := range 2000 { // each off by 0.1 ms, but for one that is 15 ms late
		times = append(times, time.Duration(i)*20*ms+time.Duration(i%2)*100*time.Microsecond)
	}
	for i := 1000; i < len(times); i++ {
		times[i] += 15 * ms
	}
	s, err := spreadOf(times, 20*ms)
	if err != nil {
		t.Fatal(err)
	}
	if s.Adverts != 2000 || s.P50 != 100*time.Microsecond || s.P99 != 100*time.Microsecond || s.P999 != 100*time.Microsecond || s.Max < 14*ms {
		t.Errorf("%+v", s)
	}
	if want := []int{1998, 0, 0, 0, 0, 0, 1, 0}; !slices.Equal(s.Buckets, want) {
		t.Errorf("buckets %v, want %v", s.Buckets, want)
	}
	for i := 1000; i < 1003; i++ {
		times[i] += 100 * ms
	}
	bad, err := spreadOf(times, 20*ms)
	if err != nil || bad.P999 < 10*ms {
		t.Errorf("%+v, %v", bad, err)
	}
	if _, err := spreadOf(times[:2], 20*ms); err == nil {
		t.Error("two adverts are enough")
	}
	text := (&Report{Rows: []Row{{System: bench.Holdfast, Interval: 20 * ms, Spread: s}, {System: bench.Tuned, Interval: 20 * ms, Busy: true, Spread: bad}}}).Text()
	for _, want := range []string{"20ms      idle  holdfast      2000", "keepalived", "NOT: 99.9 %"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestWhatCanBeMeasured(t *testing.T) {
	good := Options{Intervals: []time.Duration{20 * time.Millisecond}, Length: time.Second}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Options){
		func(o *Options) { o.Length = 0 },
		func(o *Options) { o.Intervals = []time.Duration{time.Millisecond} },
		func(o *Options) { o.Intervals = []time.Duration{15 * time.Millisecond} },
		func(o *Options) { o.Only = []bench.System{bench.Kolla} },
	} {
		o := good
		if change(&o); o.Check() == nil {
			t.Errorf("%+v can be measured", o)
		}
	}
	for _, interval := range []time.Duration{10 * time.Millisecond, 10 * time.Second} {
		text := strings.Replace(spec, "%v", interval.String(), 1)
		s, findings := cloud.Parse("jitter.yaml", []byte(text))
		if s == nil {
			t.Fatal(findings)
		}
		for _, c := range s.Controllers {
			if addresses()[c.Name] != c.Address.String() {
				t.Errorf("%s is %v, not %s", c.Name, c.Address, addresses()[c.Name])
			}
		}
	}
}

func TestAdverts(t *testing.T) {
	packet := make([]byte, 28)
	packet[0], packet[20] = 0x45, 0x31
	if !isAdvert(packet) || isAdvert(packet[:20]) || isAdvert(nil) {
		t.Error("not told from others")
	}
	packet[20] = 0x21
	if isAdvert(packet) {
		t.Error("version 2 is another's")
	}
}
