package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"time"

	"holdfast/internal/web/page"
)

const (
	// maxStreams is how many pages are kept up to date at the same time; more
	// are told to reload themselves.
	maxStreams = 512
	// liveInterval is how often open pages are looked at anew, all of them together.
	liveInterval = 500 * time.Millisecond
	// beatInterval is how long a stream is silent at most. A page of which nothing comes
	// for three seconds takes the controller for lost.
	beatInterval = time.Second
	// streamTimeout is how long a page may take nothing before it is cut.
	streamTimeout = 3 * time.Second
	// streamBuffer is how much of a stream the kernel keeps for one who does not read, in
	// bytes; it takes twice that for itself (socket(7)).
	streamBuffer = 64 << 10
	// streamPiece is how much is written at once, in bytes: less than what is free when the
	// kernel says that there is room.
	streamPiece = 16 << 10
	// quietTimeout is how long the host of a page may leave what it was sent unacknowledged.
	quietTimeout = 20 * time.Second
	// shards is how many groups of streams are told of what changed one after the other,
	// shardPause apart, so that few of them are at work at once.
	shards     = 32
	shardPause = 2 * time.Millisecond
)

// live makes the fragments of the page, once for all who look at it, while somebody does.
type live struct {
	look func(context.Context) view

	mu     sync.Mutex // guards following
	open   int
	joined int // ever
	stop   context.CancelFunc
	all    []*fragment
	next   [shards]chan struct{} // each closed when all is another one
}

// A fragment is one part of the page, as the page's script takes it. Two of the same
// content are the same pointer.
type fragment struct {
	ID    string `json:"id"`
	HTML  string `json:"html"`
	Title string `json:"title"` // of the whole page

	event []byte // as it is sent
}

// join counts one more who looks, unless there are too many, and gives its shard; leave ends
// that.
func (s *Server) join() (shard int, leave func(), ok bool) {
	l := &s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= maxStreams {
		return 0, nil, false
	}
	if l.open++; l.open == 1 {
		var ctx context.Context
		ctx, l.stop = context.WithCancel(context.Background()) // it belongs to all who look
		l.all = nil
		for i := range l.next {
			l.next[i] = make(chan struct{})
		}
		go s.keepLive(ctx)
	}
	l.joined++
	return l.joined % shards, l.leave, true
}

func (l *live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open--; l.open == 0 {
		l.stop()
	}
}

// keepLive makes the fragments anew, again and again, until ctx ends with the last who looks.
func (s *Server) keepLive(ctx context.Context) {
	ticker := time.NewTicker(liveInterval)
	defer ticker.Stop()
	for {
		var all []*fragment
		contained(s.broke, func() {
			var err error
			if all, err = s.fragmentsOf(s.live.look(ctx)); err != nil {
				s.opt.Log.Error("the page cannot be shown", "error", err)
			}
		})
		if !s.live.publish(ctx, all) {
			return
		}
		s.live.tell(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// publish has all be what is shown, and reports false when nobody looks any more.
func (l *live) publish(ctx context.Context, all []*fragment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil { // another one may have begun
		return false
	}
	for i, f := range all {
		for _, before := range l.all {
			if before.ID == f.ID && bytes.Equal(before.event, f.event) {
				all[i] = before
			}
		}
	}
	l.all = all
	return true
}

// tell tells one shard after the other of what was published.
func (l *live) tell(ctx context.Context) {
	l.mu.Lock()
	several := l.open > shards
	l.mu.Unlock()
	for i := range l.next {
		if !l.tellOne(ctx, i) {
			return
		}
		if several {
			time.Sleep(shardPause)
		}
	}
}

func (l *live) tellOne(ctx context.Context, shard int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	close(l.next[shard])
	l.next[shard] = make(chan struct{})
	return true
}

// now gives what is shown, and what is closed when a shard is told of another one.
func (l *live) now(shard int) ([]*fragment, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all, l.next[shard]
}

// fragmentsOf gives the parts of the page of v.
func (s *Server) fragmentsOf(v view) ([]*fragment, error) {
	m := s.model(v).Steady()
	var all []*fragment
	for _, name := range page.Parts() {
		html, err := s.page.Render(name, m)
		if err != nil {
			return nil, err
		}
		f := &fragment{ID: name, HTML: string(html), Title: m.Title}
		data, err := json.Marshal(f)
		if err != nil {
			return nil, fmt.Errorf("encode a part of the page: %w", err)
		}
		f.event = fmt.Appendf(nil, "event: part\ndata: %s\n\n", data)
		all = append(all, f)
	}
	return all, nil
}

// serveStream sends the fragments of the page, and again each that changes, as
// server-sent events, until the client leaves or the agent ends. Where nothing has changed
// for a second, or nothing can be said of it yet, it says at least that it is there.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	shard, leave, ok := s.join()
	if !ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many pages are open already", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	out := crowdStream{stream: stream{w, http.NewResponseController(w), streamTimeout}, socket: socketOf(r.Context()), turns: s.sends}
	if out.socket != nil {
		boundBuffer(out.socket)
	}
	if out.send([]byte("retry: 1000\n\n")) != nil {
		return
	}
	s.keepSending(r.Context(), out, shard)
}

// A crowdStream is one of many: it is written to in its turn, and only what its client's
// connection has room for, so that who reads slowly keeps no turn.
type crowdStream struct {
	stream
	socket syscall.RawConn // nil: nobody knows of the room
	turns  chan struct{}
}

// send writes p in pieces, each within the stream's patience.
func (c crowdStream) send(p []byte) error {
	for len(p) > 0 {
		piece := p[:min(len(p), streamPiece)]
		if err := c.sendPiece(piece); err != nil {
			return err
		}
		p = p[len(piece):]
	}
	return nil
}

func (c crowdStream) sendPiece(piece []byte) error {
	if c.socket != nil {
		if err := c.rc.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
			return err
		}
		if err := awaitRoom(c.socket); err != nil {
			return err
		}
	}
	c.turns <- struct{}{}
	defer func() { <-c.turns }()
	return c.stream.send(piece)
}

// keepSending sends to out, which is of shard, what changes, until ctx ends or nobody reads.
func (s *Server) keepSending(ctx context.Context, out crowdStream, shard int) {
	sent := map[string]*fragment{}
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	for {
		all, next := s.live.now(shard)
		news := newOf(all, sent)
		if len(news) > 0 {
			if out.send(news) != nil {
				return
			}
			beat.Reset(beatInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		case <-beat.C:
			if out.send([]byte("event: beat\ndata: {}\n\n")) != nil {
				return
			}
		}
	}
}

// newOf gives what of all was not sent yet, and notes it as sent.
func newOf(all []*fragment, sent map[string]*fragment) []byte {
	var news []byte
	for _, f := range all {
		if sent[f.ID] != f {
			news = append(news, f.event...)
			sent[f.ID] = f
		}
	}
	return news
}
