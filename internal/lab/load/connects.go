package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A Connects is a fine instrument for when a service can be reached: it opens
// a new connection at every tick and closes it again, without a request. The
// kernels of both sides do all of it, so that a busy machine disturbs it far
// less than a request that three processes have a part in.
type Connects struct {
	To       netip.AddrPort
	Every    time.Duration // MinEvery or more
	Duration time.Duration
	// Patience is how long an attempt may go unanswered until it is given up,
	// as a failure; the next ones do not wait for it.
	Patience time.Duration
	Clients  []netip.Addr // that they come from, by turns; this host's own when empty
	// Record is called with each attempt's Record, whose Late is how late the
	// attempt was made, and Took is counted from when it was due.
	Record func(Record)
}

// MinEvery is the shortest time between two attempts of Connects.
const MinEvery = 200 * time.Microsecond

func (c Connects) check() error {
	switch {
	case !c.To.IsValid():
		return errors.New("no address to connect to")
	case c.Every < MinEvery:
		return fmt.Errorf("a connection every %v; every %v at most", c.Every, MinEvery)
	case c.Duration <= 0 || c.Patience <= 0:
		return fmt.Errorf("duration of %v, patience of %v; both must be positive", c.Duration, c.Patience)
	}
	return nil
}

// Run makes the attempts and returns when the last one has its Record. It has
// a thread of its own while it runs, of realtime priority where that is allowed.
func (c Connects) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its priority
		first := &unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1}
		first.Size = unix.SizeofSchedAttr
		_ = unix.SchedSetAttr(0, first, 0) //nolint:errcheck // see above
		ended <- (&connector{Connects: c}).run(ctx)
	}()
	return <-ended
}

// A connector is one run of Connects.
type connector struct {
	Connects
	pending []attempt
	polled  []unix.PollFd // of pending, in the same order
}

// An attempt is a connection that is being opened.
type attempt struct {
	Record
	sent time.Time
}

func (c *connector) run(ctx context.Context) error {
	start := time.Now()
	for i := 0; ; {
		due := start.Add(time.Duration(i) * c.Every)
		over := due.Sub(start) >= c.Duration || ctx.Err() != nil
		if over && len(c.pending) == 0 {
			return nil
		}
		now := time.Now()
		if !over && !now.Before(due) {
			if err := c.open(i, due, now); err != nil {
				return err
			}
			// What this machine kept it from trying, nobody has tried.
			i = max(i+1, int(now.Sub(start)/c.Every))
			due = start.Add(time.Duration(i) * c.Every)
		}
		wait := time.Until(due)
		if over {
			wait = c.Patience // for what is still unanswered
		}
		if err := c.poll(wait); err != nil {
			return err
		}
	}
}

// open makes the i-th attempt.
func (c *connector) open(i int, due, now time.Time) error {
	a := attempt{sent: now, Record: Record{Kind: Connect, Due: due, Late: now.Sub(due), Opened: now}}
	family := unix.AF_INET
	if c.To.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	if len(c.Clients) > 0 {
		from := c.Clients[i%len(c.Clients)]
		a.Client = from.String()
		err = errors.Join(
			// The port is chosen with the other side's address in view.
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
			unix.Bind(fd, socketAddress(netip.AddrPortFrom(from, 0))),
		)
		if err != nil {
			return errors.Join(fmt.Errorf("bind %s: %w", from, err), unix.Close(fd))
		}
	}
	err = unix.Connect(fd, socketAddress(c.To))
	if err == nil || !errors.Is(err, unix.EINPROGRESS) {
		c.ended(a, err)
		return unix.Close(fd)
	}
	c.pending = append(c.pending, a)
	c.polled = append(c.polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
	return nil
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// poll waits for an answer for at most so long, and gives every attempt that
// has ended, or was given up, its Record.
func (c *connector) poll(wait time.Duration) error {
	timeout := unix.NsecToTimespec(max(0, wait).Nanoseconds())
	_, err := unix.Ppoll(c.polled, &timeout, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for connections: %w", err)
	}
	now := time.Now()
	var pending []attempt
	var polled []unix.PollFd
	err = nil
	for i, a := range c.pending {
		fd := c.polled[i]
		switch {
		case fd.Revents != 0:
			c.ended(a, outcome(int(fd.Fd)))
		case now.Sub(a.sent) > c.Patience:
			c.ended(a, context.DeadlineExceeded)
		default:
			fd.Revents = 0
			pending, polled = append(pending, a), append(polled, fd)
			continue
		}
		err = errors.Join(err, unix.Close(int(fd.Fd)))
	}
	c.pending, c.polled = pending, polled
	return err
}

// outcome gives why the connection of fd was not made; nil when it was.
func outcome(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// ended gives a its Record.
func (c *connector) ended(a attempt, err error) {
	a.Took = time.Since(a.Due)
	if err != nil {
		a.Failure, a.Error = Classify(err), err.Error()
	}
	c.Record(a.Record)
}

// LongestWait gives the longest time, between from and to, in which there were
// attempts to connect and none succeeded: from the first of them to the next
// connection. Time in which nobody tried, as the machine kept the tries back,
// does not count.
func LongestWait(records []Record, from, to time.Time) time.Duration {
	sent, made := attempts(records)
	longest := time.Duration(0)
	last := from
	for _, m := range append(made, to) {
		if m.Before(from) {
			continue
		}
		if m.After(to) {
			m = to
		}
		if first, tried := firstFrom(sent, last); tried && first.Before(m) {
			longest = max(longest, m.Sub(first))
		}
		last = m
	}
	return longest
}

// attempts gives when connections were tried, and when they were made, each in
// order.
func attempts(records []Record) (sent, made []time.Time) {
	for _, r := range records {
		if r.Kind != Connect {
			continue
		}
		sent = append(sent, r.Due.Add(r.Late))
		if r.Failure == "" {
			made = append(made, r.End())
		}
	}
	slices.SortFunc(sent, time.Time.Compare)
	slices.SortFunc(made, time.Time.Compare)
	return sent, made
}

// firstFrom gives the first of sorted that is not before t.
func firstFrom(sorted []time.Time, t time.Time) (time.Time, bool) {
	i, _ := slices.BinarySearchFunc(sorted, t, time.Time.Compare)
	if i == len(sorted) {
		return time.Time{}, false
	}
	return sorted[i], true
}
