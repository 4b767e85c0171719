package jitter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/lab"
)

const (
	// perAddress is how many of a crowd come from one address.
	perAddress = 10
	// pollEvery is how often it is looked whether who never reads was cut.
	pollEvery = 200 * time.Millisecond
	// scrapeTimeout is how long a scraper waits, as Prometheus does.
	scrapeTimeout = 10 * time.Second
)

// A Crowd is who looked at the page of the holder while its adverts were listened to: of
// ten seven open pages, one page that never reads, and two scrapers that ask for /metrics
// again as soon as they have it.
type Crowd struct {
	Size    int `json:"size"`
	Refused int `json:"refused"` // of pages, that were not let in
	// Silence is the longest time in which nothing came to an open page that reads.
	Silence time.Duration `json:"longest_silence_ns"`
	// Slow are the pages that never read, Cut how many of them were cut, and CutAfter when
	// the last of these was.
	Slow     int           `json:"slow"`
	Cut      int           `json:"cut"`
	CutAfter time.Duration `json:"cut_after_ns"`
	Scrapes  int           `json:"scrapes"`
	Failed   int           `json:"scrapes_failed"`
	// Scrape is how long 99 % of the scrapes took at the most.
	Scrape time.Duration `json:"scrape_p99_ns"`
}

// Attend is a crowd of so many at the page at to, for so long, from addresses that it gives
// the calling process's network namespace.
func Attend(ctx context.Context, to netip.AddrPort, size int, length time.Duration) (Crowd, error) {
	sources, err := lab.AddClients((size+perAddress-1)/perAddress, to.Addr())
	if err != nil {
		return Crowd{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	c := attendance{Crowd: Crowd{Size: size}, to: to}
	var all sync.WaitGroup
	for i := range size {
		who := map[int]func(context.Context, netip.Addr){7: c.neverRead, 8: c.scrape, 9: c.scrape}[i%10]
		if who == nil {
			who = c.readOn
		}
		all.Go(func() { who(ctx, sources[i/perAddress]) })
	}
	all.Wait()
	slices.Sort(c.took)
	if n := len(c.took); n > 0 {
		c.Scrape = c.took[min(n-1, n*99/100)]
	}
	return c.Crowd, nil
}

// attendance is a crowd while it is there.
type attendance struct {
	to   netip.AddrPort
	mu   sync.Mutex // guards following
	took []time.Duration
	Crowd
}

// note has change be the only one at a time.
func (a *attendance) note(change func(c *Crowd)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.Crowd)
}

// ask connects and asks for path. The connection ends with ctx.
func (a *attendance) ask(ctx context.Context, from netip.Addr, path string) (net.Conn, error) {
	d := net.Dialer{Timeout: scrapeTimeout, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := d.DialContext(ctx, "tcp", a.to.String())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // nothing is to be saved
	if _, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, a.to); err != nil {
		_ = conn.Close() // see above
		return nil, fmt.Errorf("ask for %s: %w", path, err)
	}
	return conn, nil
}

// readOn has a page open.
func (a *attendance) readOn(ctx context.Context, from netip.Addr) {
	conn, err := a.ask(ctx, from, "/stream")
	if err != nil {
		a.note(func(c *Crowd) { c.Refused++ })
		return
	}
	heard, longest := time.Now(), time.Duration(0)
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		if strings.HasPrefix(line, "event: ") {
			longest, heard = max(longest, time.Since(heard)), time.Now()
		}
	}
	ended := ctx.Err() == nil
	a.note(func(c *Crowd) {
		if c.Silence = max(c.Silence, longest); ended {
			c.Refused++
		}
	})
}

// neverRead has a page open and takes nothing of it, until it is cut.
func (a *attendance) neverRead(ctx context.Context, from netip.Addr) {
	a.note(func(c *Crowd) { c.Slow++ })
	conn, err := a.ask(ctx, from, "/stream")
	if err != nil {
		return
	}
	begun := time.Now()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	// Who was cut learns it by asking whether the other is there, as his window is shut.
	_ = tcp.SetReadBuffer(4 << 10)
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3})
	for ctx.Err() == nil {
		if gone(tcp) {
			a.note(func(c *Crowd) { c.Cut, c.CutAfter = c.Cut+1, max(c.CutAfter, time.Since(begun)) })
			return
		}
		time.Sleep(pollEvery)
	}
}

// gone reports whether the other end of conn has closed it, without reading from it.
func gone(conn syscall.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	var events int16
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			events = fds[0].Revents
		}
	})
	return err != nil || events&(unix.POLLERR|unix.POLLHUP|unix.POLLRDHUP) != 0
}

// scrape asks for /metrics, again and again.
func (a *attendance) scrape(ctx context.Context, from netip.Addr) {
	for ctx.Err() == nil {
		begun := time.Now()
		err := a.scrapeOnce(ctx, from)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(begun)
		a.note(func(c *Crowd) {
			c.Scrapes++
			if err != nil {
				c.Failed++
			}
		})
		if err != nil { // refused at once, and again at once, would be no scraper's way
			time.Sleep(pollEvery)
		}
		a.mu.Lock()
		a.took = append(a.took, took)
		a.mu.Unlock()
	}
}

func (a *attendance) scrapeOnce(ctx context.Context, from netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	conn, err := a.ask(ctx, from, "/metrics")
	if err != nil {
		return err
	}
	body, err := io.ReadAll(conn)
	if err == nil && !strings.HasPrefix(string(body), "HTTP/1.1 200 ") {
		err = fmt.Errorf("answered %.40q", body)
	}
	return err
}
