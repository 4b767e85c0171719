package load

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Transfers are long ones that go on while requests are sent. A download is a
// GET of /stream/BYTES?s=SECONDS from the first target's host, which gives the
// body piece by piece with its checksum in the header X-Body-Crc32; an upload a
// PUT to the first target.
type Transfers struct {
	Count int           // at the same time; MaxTransfers at most
	Time  time.Duration // that each takes
	Bytes int64         // of each
	// Spread is the time over which they begin, one after the other.
	Spread time.Duration
}

// MaxTransfers is how many downloads, or uploads, there may be in one load.
const MaxTransfers = 1000

func (d Transfers) check(what string) error {
	if d.Count == 0 {
		return nil
	}
	if d.Count < 0 || d.Count > MaxTransfers || d.Time <= 0 || d.Bytes <= 0 || d.Spread < 0 {
		return fmt.Errorf("%d %s of %d bytes over %v; up to %d, of a byte or more", d.Count, what, d.Bytes, d.Time, MaxTransfers)
	}
	return nil
}

// transfers has each of t done by one when it is due, and returns when each has
// its Record.
func (c *client) transfers(ctx context.Context, start time.Time, t Transfers, one func(ctx context.Context, i int, due time.Time) Record) {
	var running sync.WaitGroup
	defer running.Wait()
	for i := range t.Count {
		due := start.Add(t.Spread * time.Duration(i) / time.Duration(t.Count))
		if !sleepUntil(ctx, due) {
			return
		}
		running.Go(func() { c.config.Record(one(ctx, i, due)) })
	}
}

// aim makes the shot of the i-th transfer of its kind, which is due then.
func (c *client) aim(kind Kind, method string, i int, due time.Time) shot {
	s := shot{url: c.targets[0]}
	s.Record = Record{
		Kind: kind, Due: due, Late: time.Since(due), Target: c.config.Targets[0].Name,
		Method: method, Key: c.prefix + string(kind[:1]) + strconv.Itoa(i),
	}
	c.comeFrom(&s, i)
	return s
}

// transfer opens a connection and has do do s over it, which may take until the
// deadline.
func (s shot) transfer(ctx context.Context, deadline time.Time, do func(context.Context, shot, *conn) (Record, error)) Record {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := dial(ctx, s.url, s.from)
	if err == nil {
		defer conn.Close()                                                               //nolint:errcheck // the answer is here, or never will be
		stop := context.AfterFunc(ctx, func() { conn.raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
		defer stop()
		s.Opened = conn.opened
		s.Record, err = do(ctx, s, conn)
	}
	if err == nil {
		s.Took = time.Since(s.Due)
		return s.Record
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return s.failed(time.Now(), err)
}

// fetch does the i-th download, on a connection of its own.
func (c *client) fetch(ctx context.Context, i int, due time.Time) Record {
	d := c.config.Downloads
	s := c.aim(Download, http.MethodGet, i, due)
	u := *s.url
	u.Path, u.RawQuery = fmt.Sprintf("/stream/%d", d.Bytes), "s="+strconv.FormatFloat(d.Time.Seconds(), 'g', -1, 64)
	s.url = &u
	return s.transfer(ctx, due.Add(d.Time+c.config.Timeout), func(_ context.Context, s shot, conn *conn) (Record, error) {
		return s.receive(conn)
	})
}

// errCorrupt tells of a body whose bytes are not those that were sent.
var errCorrupt = errors.New("the body is not what was sent: its checksum is another")

// receive reads the whole body, which must have the length and the checksum that
// its header tells.
func (s shot) receive(conn *conn) (Record, error) {
	r := s.Record
	resp, err := s.ask(conn, 0) //nolint:bodyclose // it is, below
	if err != nil {
		return r, err
	}
	defer resp.Body.Close() //nolint:errcheck // all of it was read, or never will be
	sum := crc32.NewIEEE()
	body := readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		if n > 0 {
			r.Last = time.Since(r.Due)
		}
		return n, err
	})
	r.Status, r.Host = resp.StatusCode, resp.Header.Get("X-Served-By")
	r.Bytes, err = io.Copy(sum, body)
	switch want := resp.Header.Get("X-Body-Crc32"); {
	case err != nil:
		return r, err
	case resp.StatusCode != http.StatusOK:
		return r, statusError(resp.StatusCode)
	case want != fmt.Sprintf("%08x", sum.Sum32()):
		return r, errCorrupt
	}
	return r, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A statusError is an answer that is not the one that was asked for.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("%d %s", int(e), http.StatusText(int(e))) }
