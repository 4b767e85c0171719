// Package asynclog has a log hold up nobody who writes to it: lines go to a bounded
// queue, and a goroutine hands them on. Whoever stands still behind it, as
// journald or a disk may, costs lines, which are counted, and no time.
//
// It is no logger: slog, or whoever else makes lines, writes into it.
package asynclog

import (
	"io"
	"sync"
	"time"
)

// maxBytes is how much may wait: some thousand lines.
const maxBytes = 1 << 20

// A Writer hands what is written to it on to another one, in order, without ever
// waiting for it. Each Write is one line, which goes on as a whole or not at all.
type Writer struct {
	out  io.Writer
	lost func(lines int) []byte

	mu      sync.Mutex // guards following
	queue   [][]byte
	bytes   int
	dropped int  // lines, since one was queued last
	writing bool // a line is being handed on
	closed  bool
	changed *sync.Cond // of mu: something was queued, or handed on, or it was closed
}

// New gives a Writer in front of out. Where lines are lost, what lost makes of their
// number stands in their place, once out takes lines again. An error of out loses
// the line: who wants to know of it looks there. Close ends it.
func New(out io.Writer, lost func(lines int) []byte) *Writer {
	w := &Writer{out: out, lost: lost}
	w.changed = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write queues line, or counts it as lost where too much waits. It never fails.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.bytes+len(line) > maxBytes {
		w.dropped++
		return len(line), nil
	}
	if w.dropped > 0 {
		w.push(w.lost(w.dropped))
		w.dropped = 0
	}
	w.push(append([]byte(nil), line...))
	w.changed.Broadcast()
	return len(line), nil
}

func (w *Writer) push(line []byte) {
	w.queue = append(w.queue, line)
	w.bytes += len(line)
}

// run hands lines on until the Writer is closed and all are.
func (w *Writer) run() {
	for {
		line, ok := w.next()
		if !ok {
			return
		}
		_, _ = w.out.Write(line) //nolint:errcheck // see New
		w.mu.Lock()
		w.writing = false
		w.changed.Broadcast()
		w.mu.Unlock()
	}
}

// next waits for a line and takes it; it reports false when there will be none.
func (w *Writer) next() ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 {
		if w.closed {
			return nil, false
		}
		w.changed.Wait()
	}
	line := w.queue[0]
	w.queue = w.queue[1:]
	w.bytes -= len(line)
	w.writing = true
	return line, true
}

// Flush returns when all that was written before has been handed on, or after
// patience at the latest; it reports which.
func (w *Writer) Flush(patience time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := false
	timer := time.AfterFunc(patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		late = true
		w.changed.Broadcast()
	})
	defer timer.Stop()
	for (len(w.queue) > 0 || w.writing) && !late {
		w.changed.Wait()
	}
	return !late
}

// Close takes no more lines, and flushes those that there are for patience at most.
// What stands still after that is left to itself.
func (w *Writer) Close(patience time.Duration) bool {
	w.mu.Lock()
	if w.dropped > 0 && !w.closed {
		w.push(w.lost(w.dropped))
		w.dropped = 0
	}
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	return w.Flush(patience)
}
