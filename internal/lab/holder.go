package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/spec"
)

// loopback is the index of lo in every network namespace. A VIP on it answers
// no neighbour: a controller that ends its last connections keeps it there.
const loopback = 1

// A Holding is one change of who has an address of a VIP on an interface, as
// that node's kernel told it: a line of addresses.jsonl.
type Holding struct {
	Time    time.Time  `json:"time"`
	Address netip.Addr `json:"address"`
	Node    string     `json:"node"`
	Held    bool       `json:"held"`
}

// A holderLog keeps who has which address of a VIP.
type holderLog struct {
	vips []netip.Addr
	log  *slog.Logger

	mu   sync.Mutex // guards following
	file *os.File
	held map[netip.Addr][]string // nodes, in the order in which they took it
	off  map[string]bool         // nodes whose kernels no longer count
}

func newHolderLog(s *spec.Spec, path string, log *slog.Logger) (*holderLog, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of addresses: %w", err)
	}
	h := &holderLog{log: log, file: file, held: map[netip.Addr][]string{}, off: map[string]bool{}}
	for _, v := range s.VIPs {
		for _, a := range v.Addresses {
			h.vips = append(h.vips, a.Addr())
		}
	}
	return h, nil
}

// follow records what happens to the VIPs' addresses in the box of node until
// ctx ends. The kernel tells; nothing is polled.
func (h *holderLog) follow(ctx context.Context, node string, b *box) {
	h.setOff(node, false)
	for ctx.Err() == nil {
		if err := h.subscribe(ctx, node, b); err != nil && ctx.Err() == nil {
			h.log.Warn("addresses: subscribe again", "node", node, "error", err)
			_ = Sleep(ctx, 100*time.Millisecond) //nolint:errcheck // if ctx ends, so does this
		}
	}
}

func (h *holderLog) subscribe(ctx context.Context, node string, b *box) error {
	updates := make(chan netlink.AddrUpdate, 64)
	done := make(chan struct{})
	var failed error
	err := enter(b.pidfd, unix.CLONE_NEWNET, func() error {
		return netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{
			ListExisting:  true,
			ErrorCallback: func(err error) { failed = err }, // then it closes updates
		})
	})
	if err != nil {
		close(done)
		return err
	}
	stop := context.AfterFunc(ctx, func() { close(done) })
	for u := range updates {
		h.take(node, u, time.Now())
	}
	if stop() {
		close(done)
	}
	return failed
}

func (h *holderLog) take(node string, u netlink.AddrUpdate, now time.Time) {
	addr, ok := netip.AddrFromSlice(u.LinkAddress.IP)
	if ok && u.LinkIndex != loopback && slices.Contains(h.vips, addr.Unmap()) {
		h.set(Holding{now, addr.Unmap(), node, u.NewAddr})
	}
}

// set takes c in, and writes it down if it changes anything: a lease that is
// refreshed does not.
func (h *holderLog) set(c Holding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	nodes := h.held[c.Address]
	if slices.Contains(nodes, c.Node) == c.Held || c.Held && h.off[c.Node] {
		return
	}
	h.held[c.Address] = change(nodes, c)
	if err := json.NewEncoder(h.file).Encode(c); err != nil {
		h.log.Error("addresses: write", "error", err)
	}
}

// gone takes every address from a node that is powered off: what its kernel
// says until it is dead as well, nobody hears.
func (h *holderLog) gone(node string) {
	h.setOff(node, true)
	for _, addr := range h.vips {
		h.set(Holding{time.Now(), addr, node, false})
	}
}

func (h *holderLog) setOff(node string, off bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.off[node] = off
}

// holders gives the nodes that have addr now, the last to take it last.
func (h *holderLog) holders(addr netip.Addr) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.held[addr])
}

// ReadHoldings reads what the lab in d has recorded of the VIPs' addresses.
func ReadHoldings(d Dir) ([]Holding, error) {
	file, err := os.Open(d.addressesFile())
	if err != nil {
		return nil, fmt.Errorf("read who had the address: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	var all []Holding
	for lines := json.NewDecoder(file); ; {
		var h Holding
		err := lines.Decode(&h)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read who had the address: %w", err)
		}
		all = append(all, h)
	}
}

// A Takeover tells how an address changed hands after a moment.
type Takeover struct {
	From []string `json:"from"` // who had it at that moment
	To   []string `json:"to"`   // who has it at the end
	// Taken is how long after the moment another node had it; negative when
	// none took it.
	Taken time.Duration `json:"taken_ns"`
	// Two is for how long in all more than one node had it.
	Two time.Duration `json:"two_ns"`
}

// TakeoverOf reads from changes, which are in the order of time, what became
// of address between the moments from and to.
func TakeoverOf(changes []Holding, address netip.Addr, from, to time.Time) Takeover {
	t := Takeover{Taken: -1}
	var held []string
	last := from
	for _, c := range changes {
		if c.Address != address || c.Time.After(to) {
			continue
		}
		if !c.Time.After(from) {
			held = change(held, c)
			t.From = slices.Clone(held)
			continue
		}
		if len(held) > 1 {
			t.Two += c.Time.Sub(last)
		}
		last = c.Time
		if c.Held && t.Taken < 0 && !slices.Contains(t.From, c.Node) {
			t.Taken = c.Time.Sub(from)
		}
		held = change(held, c)
	}
	if len(held) > 1 {
		t.Two += to.Sub(last)
	}
	t.To = held
	return t
}

// change gives held after c.
func change(held []string, c Holding) []string {
	held = slices.DeleteFunc(held, func(n string) bool { return n == c.Node })
	if c.Held {
		held = append(held, c.Node)
	}
	return held
}
