package traffic_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"holdfast/internal/traffic"
)

func TestFrame(t *testing.T) {
	f := traffic.Frame{Number: 178_000_000, Points: []traffic.Point{
		{Service: "nova", Requests: 1200, Failed: 3, P50: 4 * time.Millisecond, P99: 380 * time.Millisecond}, {Service: "glance", Requests: 7},
	}}
	data := f.Encode()
	got, whole := traffic.DecodeFrame(data)
	if !whole || len(data) != traffic.FrameSize || !reflect.DeepEqual(got, f) {
		t.Errorf("%+v, whole %v; want %+v", got, whole, f)
	}
	for i := range 58 { // each octet that counts
		torn := append([]byte{}, data...)
		torn[i] ^= 0x40
		if _, whole := traffic.DecodeFrame(torn); whole {
			t.Errorf("octet %d changed, and it is whole", i)
		}
	}
	if _, whole := traffic.DecodeFrame(make([]byte, traffic.FrameSize)); whole {
		t.Error("nothing is a frame")
	}
	for i := range 200 {
		f.Points = append(f.Points, traffic.Point{Service: fmt.Sprint("service-", i), Requests: uint32(i)})
	}
	if got, whole = traffic.DecodeFrame(f.Encode()); !whole || len(got.Points) < 70 || got.Points[0].Service != "nova" {
		t.Errorf("of many services %d are kept, whole %v", len(got.Points), whole)
	}
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(traffic.Frame{Number: 9, Points: []traffic.Point{{Service: "nova", Requests: 1}}}.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if frame, whole := traffic.DecodeFrame(data); whole && len(data) == traffic.FrameSize {
			if again, whole := traffic.DecodeFrame(frame.Encode()); !whole || again.Number != frame.Number || len(again.Points) != len(frame.Points) {
				t.Errorf("%+v became %+v", frame, again)
			}
		}
	})
}

func TestGatherer(t *testing.T) {
	var one traffic.Histogram
	one.Add(15 * time.Millisecond)
	var g traffic.Gatherer
	g.Add([]traffic.Rate{{Key: traffic.Key{Service: "nova", VIP: "a"}, Requests: 2, Failed: 1, First: one}, {Key: traffic.Key{Service: "heat"}}})
	g.Add([]traffic.Rate{{Key: traffic.Key{Service: "nova", VIP: "b"}, Requests: 3, First: one}})
	want := []traffic.Point{{Service: "nova", Requests: 5, Failed: 1, P50: 15500 * time.Microsecond, P99: 15500 * time.Microsecond}}
	if got := g.Take(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := g.Take(); len(got) > 0 {
		t.Errorf("again %+v", got)
	}
}

func TestHistoryOf(t *testing.T) {
	point := func(n, failed uint32, p99 time.Duration) []traffic.Point {
		return []traffic.Point{{Service: "nova", Requests: n, Failed: failed, P99: p99}}
	}
	h := traffic.HistoryOf([]traffic.Frame{
		{Number: 99, Points: point(9, 9, 9)}, {Number: 100, Points: point(1, 0, 5)}, {Number: 101, Points: point(2, 1, 3)}, {Number: 104}, {Number: 106, Points: point(9, 9, 9)},
	}, 100, 3, 2, time.Minute)
	want := traffic.History{
		Step: 2 * time.Minute, From: time.Unix(6000, 0).UTC(), Known: []bool{true, false, true},
		Services: []traffic.ServiceHistory{{Service: "nova", Requests: []uint64{3, 0, 0}, Failed: []uint64{1, 0, 0}, P50: []time.Duration{0, 0, 0}, P99: []time.Duration{5, 0, 0}}},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("%+v, want %+v", h, want)
	}
}
