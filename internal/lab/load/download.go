package load

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/netip"
	"net/url"
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

// download does all of the load's downloads and returns when each has its Record.
func (c *client) download(ctx context.Context, start time.Time) {
	d := c.config.Downloads
	var running sync.WaitGroup
	defer running.Wait()
	for i := range d.Count {
		due := start.Add(d.Spread * time.Duration(i) / time.Duration(d.Count))
		if !sleepUntil(ctx, due) {
			return
		}
		running.Go(func() { c.config.Record(c.fetch(ctx, i, due)) })
	}
}

// fetch does the i-th download, on a connection of its own.
func (c *client) fetch(ctx context.Context, i int, due time.Time) Record {
	d := c.config.Downloads
	u := *c.targets[0]
	u.Path, u.RawQuery = fmt.Sprintf("/stream/%d", d.Bytes), "s="+strconv.FormatFloat(d.Time.Seconds(), 'g', -1, 64)
	s := shot{url: &u}
	s.Record = Record{
		Kind: Download, Due: due, Late: time.Since(due), Target: c.config.Targets[0].Name,
		Method: http.MethodGet, Key: c.prefix + "d" + strconv.Itoa(i),
	}
	if len(c.config.Clients) > 0 {
		s.from = c.config.Clients[i%len(c.config.Clients)]
		s.Client = s.from.String()
	}
	ctx, cancel := context.WithDeadline(ctx, due.Add(d.Time+c.config.Timeout))
	defer cancel()
	r, err := s.transfer(ctx, &u, s.from)
	if err == nil {
		r.Took = time.Since(due)
		return r
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	s.Record = r
	return s.failed(time.Now(), err)
}

// errCorrupt tells of a body whose bytes are not those that were sent.
var errCorrupt = errors.New("the body is not what was sent: its checksum is another")

// transfer opens a connection and reads the whole body, which must have the
// length and the checksum that its header tells.
func (s shot) transfer(ctx context.Context, u *url.URL, from netip.Addr) (Record, error) {
	r := s.Record
	conn, err := dial(ctx, u, from)
	if err != nil {
		return r, err
	}
	defer conn.Close()                                                               //nolint:errcheck // the answer is here, or never will be
	stop := context.AfterFunc(ctx, func() { conn.raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
	defer stop()
	r.Opened = conn.opened
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
