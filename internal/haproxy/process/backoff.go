package process

import "time"

// A backoff spaces restarts: the first at once, each after it later than the
// one before, until HAProxy has been stable for a while.
type backoff struct {
	first, most time.Duration // the second pause, and the longest
	stable      time.Duration // of running, after which the next restart is a first one

	next time.Duration
}

// pause gives the time to wait before a restart, of a HAProxy that ran for ran.
func (b *backoff) pause(ran time.Duration) time.Duration {
	if ran >= b.stable {
		b.next = 0
	}
	p := b.next
	b.next = min(max(2*b.next, b.first), b.most)
	return p
}
