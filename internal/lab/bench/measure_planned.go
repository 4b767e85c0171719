package bench

import (
	"time"

	"holdfast/internal/lab/load"
)

// A Work is what planned work cost beside the requests of a Measure.
type Work struct {
	Took time.Duration `json:"work_ns"` // what the operator's commands took
	// Connects counts the attempts to connect, one each millisecond, and
	// ConnectsFailed those that were refused, reset or without an answer.
	Connects       int `json:"connects"`
	ConnectsFailed int `json:"connects_failed"`
	// ConnectGap is the longest time in which attempts were made and none
	// succeeded, and ConnectNoise the same just before the work.
	ConnectGap   time.Duration `json:"connect_gap_ns"`
	ConnectNoise time.Duration `json:"connect_noise_ns"`
	// Downloads counts those in flight when the work began, and Cut those of
	// them that did not come to their end as they were sent.
	Downloads int `json:"downloads"`
	Cut       int `json:"downloads_cut"`
	// Resets counts the connections that were reset, under requests, under
	// downloads, while they were idle and while they were being made.
	Resets int `json:"resets"`
}

// A Transfer is one download in a Timeline.
type Transfer struct {
	From time.Duration `json:"from_ns"` // from the beginning of the work on
	To   time.Duration `json:"to_ns"`   // of its last byte
	Cut  bool          `json:"cut,omitempty"`
}

// addPlanned adds to s what belongs to f, planned work.
func (s *Sample) addPlanned(f Fault, one deed, all, connects []load.Record) {
	s.Work = work(one.span, all, connects)
	s.Work.Took, s.Error = one.worked.took, one.worked.failed
	if f.TLS && s.Error == "" && !certificateChanged(all, one.span) {
		s.Error = "new connections are not shown the new certificate"
	}
	t := &s.Timeline
	t.Marks = append(t.Marks, Mark{At: one.worked.took, Kind: "done", Text: "done"})
	for _, r := range ofKind(all, load.Download) {
		d := Transfer{From: r.Due.Sub(one.from), To: r.End().Sub(one.from)}
		if r.Failure != "" {
			d.To, d.Cut = r.Due.Add(r.Last).Sub(one.from), true
		}
		t.Downloads = append(t.Downloads, d)
	}
	t.Connects = failedConnects(connects, one.span)
}

// work sums up what planned work in the time of s cost.
func work(s span, all, connects []load.Record) Work {
	w := Work{
		ConnectGap:   load.LongestWait(connects, s.from, s.to),
		ConnectNoise: load.LongestWait(connects, s.from.Add(-plannedLead/2), s.from),
	}
	for _, r := range connects {
		if !s.has(r.Due) {
			continue
		}
		w.Connects++
		if r.Failure != "" {
			w.ConnectsFailed++
		}
		w.Resets += resets(r)
	}
	for _, r := range all {
		if !r.End().After(s.from) || !r.Due.Before(s.to) {
			continue
		}
		w.Resets += resets(r)
		if r.Kind == load.Download && r.Due.Before(s.from) {
			w.Downloads++
			if r.Failure != "" {
				w.Cut++
			}
		}
	}
	return w
}

// resets counts the connections that r met reset.
func resets(r load.Record) int {
	if r.Failure == load.Reset {
		return r.IdleResets + 1
	}
	return r.IdleResets
}

// ofKind gives those of all that are of kind.
func ofKind(all []load.Record, kind load.Kind) []load.Record {
	var some []load.Record
	for _, r := range all {
		if r.Kind == kind {
			some = append(some, r)
		}
	}
	return some
}

// failedConnects draws the attempts to connect that failed, in the steps of a
// Timeline.
func failedConnects(connects []load.Record, s span) string {
	counts := make([]int, steps(s))
	start := s.from.Add(-prelude)
	for _, r := range connects {
		if i := int(r.Due.Sub(start) / bucket); r.Failure != "" && !r.Due.Before(start) && i < len(counts) {
			counts[i]++
		}
	}
	return letters(counts)
}
