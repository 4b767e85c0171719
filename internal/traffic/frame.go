package traffic

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"time"
)

// A Point is what clients of a service got in a stretch of time, on all VIPs together.
type Point struct {
	Service          string
	Requests, Failed uint32
	P50, P99         time.Duration // to the first byte
}

// A Frame has the Points of a stretch of time: the one with that number since 1970. Services
// without a request have none.
type Frame struct {
	Number int64
	Points []Point
}

// FrameSize is how long the encoding of a Frame is, in octets: enough for 70 services with
// names of usual length. Of more, those with the fewest requests are left out.
const FrameSize = 2048

// head is what a frame has before its points: a checksum, its length, its number.
const head = 4 + 2 + 8

// Encode gives f as FrameSize octets, which know whether they are whole.
func (f Frame) Encode() []byte {
	points := slices.Clone(f.Points)
	slices.SortStableFunc(points, func(a, b Point) int { return int(int64(b.Requests) - int64(a.Requests)) })
	data := make([]byte, head, FrameSize)
	for _, p := range points {
		if len(p.Service) > 255 || len(data)+1+len(p.Service)+16 > FrameSize {
			continue
		}
		data = append(append(data, byte(len(p.Service))), p.Service...)
		for _, n := range []uint32{p.Requests, p.Failed, micros(p.P50), micros(p.P99)} {
			data = binary.LittleEndian.AppendUint32(data, n)
		}
	}
	binary.LittleEndian.PutUint16(data[4:], uint16(len(data)))
	binary.LittleEndian.PutUint64(data[6:], uint64(f.Number))
	binary.LittleEndian.PutUint32(data, crc32.ChecksumIEEE(data[4:]))
	return data[:FrameSize]
}

func micros(d time.Duration) uint32 { return uint32(min(max(d.Microseconds(), 0), 1<<32-1)) }

// DecodeFrame reads what Encode gave; false of what is not whole, or never was one.
func DecodeFrame(data []byte) (Frame, bool) {
	if len(data) < head {
		return Frame{}, false
	}
	length := int(binary.LittleEndian.Uint16(data[4:]))
	if length < head || length > len(data) || crc32.ChecksumIEEE(data[4:length]) != binary.LittleEndian.Uint32(data) {
		return Frame{}, false
	}
	f := Frame{Number: int64(binary.LittleEndian.Uint64(data[6:]))}
	for rest := data[head:length]; len(rest) > 0; {
		n := int(rest[0])
		if len(rest) < 1+n+16 {
			return Frame{}, false
		}
		p := Point{Service: string(rest[1 : 1+n])}
		rest = rest[1+n:]
		p.Requests, p.Failed = binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		p.P50 = time.Duration(binary.LittleEndian.Uint32(rest[8:])) * time.Microsecond
		p.P99 = time.Duration(binary.LittleEndian.Uint32(rest[12:])) * time.Microsecond
		f.Points = append(f.Points, p)
		rest = rest[16:]
	}
	return f, true
}

// A Gatherer makes Points of Rates of several stretches of time.
type Gatherer struct{ services []*Rate }

// Add takes rates, too.
func (g *Gatherer) Add(rates []Rate) {
	for i := range rates {
		r := &rates[i]
		if r.Requests == 0 {
			continue
		}
		at := slices.IndexFunc(g.services, func(one *Rate) bool { return one.Service == r.Service })
		if at < 0 {
			g.services = append(g.services, &Rate{Key: Key{Service: r.Service}})
			at = len(g.services) - 1
		}
		sum := g.services[at]
		sum.Requests += r.Requests
		sum.Failed += r.Failed
		sum.First.Merge(&r.First)
	}
}

// Take gives the Points of all that was added since the last Take.
func (g *Gatherer) Take() []Point {
	points := make([]Point, 0, len(g.services))
	for _, r := range g.services {
		points = append(points, Point{
			Service: r.Service, Requests: uint32(min(r.Requests, 1<<32-1)), Failed: uint32(min(r.Failed, 1<<32-1)),
			P50: r.First.Quantile(0.5), P99: r.First.Quantile(0.99),
		})
	}
	g.services = nil
	return points
}

// A History is what clients got in stretches of time that are of the same length. Its JSON
// form is the contract of docs/json.md. The lists have one element for each stretch.
type History struct {
	Step time.Duration `json:"step_ns"`
	From time.Time     `json:"from"` // when the first stretch begins
	// Known says of each whether it was counted: not while no agent ran.
	Known    []bool           `json:"known"`
	Services []ServiceHistory `json:"services"` // by name
}

// A ServiceHistory is that of one service.
type ServiceHistory struct {
	Service  string   `json:"service"`
	Requests []uint64 `json:"requests"`
	Failed   []uint64 `json:"failed"`
	// P50 and P99 are within which time half and 99 % had the first byte: of several
	// stretches that were made one, the longest. In JSON, nanoseconds.
	P50 []time.Duration `json:"first_byte_p50_ns"`
	P99 []time.Duration `json:"first_byte_p99_ns"`
}

// HistoryOf gives the history of n stretches of per frames each, of which the first begins
// with the frame of that number. Each frame is of length.
func HistoryOf(frames []Frame, first int64, n, per int, length time.Duration) History {
	h := History{Step: length * time.Duration(per), From: time.Unix(0, first*int64(length)).UTC(), Known: make([]bool, n), Services: []ServiceHistory{}}
	byName := map[string]*ServiceHistory{}
	for _, f := range frames {
		at := int(f.Number-first) / per
		if f.Number < first || at >= n {
			continue
		}
		h.Known[at] = true
		for _, p := range f.Points {
			s := byName[p.Service]
			if s == nil && len(byName) >= maxSeries {
				continue // a file that holdfast did not write
			}
			if s == nil {
				s = &ServiceHistory{p.Service, make([]uint64, n), make([]uint64, n), make([]time.Duration, n), make([]time.Duration, n)}
				byName[p.Service] = s
			}
			s.Requests[at] += uint64(p.Requests)
			s.Failed[at] += uint64(p.Failed)
			s.P50[at], s.P99[at] = max(s.P50[at], p.P50), max(s.P99[at], p.P99)
		}
	}
	for _, s := range byName {
		h.Services = append(h.Services, *s)
	}
	slices.SortFunc(h.Services, func(a, b ServiceHistory) int { return strings.Compare(a.Service, b.Service) })
	return h
}
