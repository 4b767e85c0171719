package load

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// uploadStep is how often an upload sends its next piece.
const uploadStep = 20 * time.Millisecond

// give does the i-th upload, on a connection of its own: a PUT to the first target
// whose body is sent piece by piece.
func (c *client) give(ctx context.Context, i int, due time.Time) Record {
	u := c.config.Uploads
	s := c.aim(Upload, http.MethodPut, i, due)
	begin := time.Now()
	return s.transfer(ctx, due.Add(u.Time+c.config.Timeout), func(ctx context.Context, s shot, conn *conn) (Record, error) {
		return s.send(conn, &pieces{ctx: ctx, begin: begin, length: u.Time, bytes: u.Bytes})
	})
}

// send sends body, and takes the answer, which may come before all of it was sent.
func (s shot) send(conn *conn, body *pieces) (Record, error) {
	r := s.Record
	sent := make(chan error, 1)
	req := s.request()
	req.Body, req.ContentLength = io.NopCloser(body), body.bytes
	go func() { sent <- req.Write(conn) }()
	resp, err := http.ReadResponse(conn.reader, req)
	if err != nil {
		_ = conn.Close() //nolint:errcheck // it wakes the sender
		return r, errors.Join(err, <-sent)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	err = errors.Join(err, resp.Body.Close())
	r.Status, r.Host = resp.StatusCode, resp.Header.Get("X-Served-By")
	if r.Status >= http.StatusBadRequest {
		_ = conn.Close() //nolint:errcheck // as above
		<-sent           //nolint:errcheck // that it was cut
		return r, statusError(r.Status)
	}
	return r, errors.Join(err, <-sent)
}

// pieces is a body of bytes that comes over a time, a piece at each step.
type pieces struct {
	ctx    context.Context //nolint:containedctx // a reader has no other way to be ended
	begin  time.Time
	length time.Duration
	bytes  int64
	given  int64
}

// Read gives what is due by now, and waits for one byte more if that is nothing.
func (p *pieces) Read(b []byte) (int, error) {
	if p.given == p.bytes {
		return 0, io.EOF
	}
	for {
		due := p.bytes
		if gone := time.Since(p.begin); gone < p.length {
			due = int64(float64(p.bytes) * gone.Seconds() / p.length.Seconds())
		}
		if n := int(min(due-p.given, int64(len(b)))); n > 0 {
			clear(b[:n])
			p.given += int64(n)
			return n, nil
		}
		select {
		case <-time.After(uploadStep):
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
}
