package vip

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Setting is a kernel setting as it was before this package changed it.
type Setting struct {
	Path  string `json:"path"`  // below /proc/sys/net
	Value string `json:"value"` // to be put back
	// While it is another one than Only, somebody else has set it, and it is left
	// so; empty for any.
	Only string `json:"only,omitempty"`
}

// Differs reports whether the setting is not what is to be put back, and would be.
func (s Setting) Differs() bool {
	text, err := os.ReadFile("/proc/sys/net/" + s.Path)
	now := strings.TrimSpace(string(text))
	return err == nil && now != s.Value && (s.Only == "" || now == s.Only)
}

// String gives what it is to be.
func (s Setting) String() string { return "/proc/sys/net/" + s.Path + " is " + s.Value }

// Settings are the kernel settings that Copies and Detours, or macvlan devices,
// share and change, as they were. Its methods may be called from several goroutines.
type Settings struct {
	// keep is called before each change, and writes Changed down: an agent that
	// starts again in the middle of a move knows what to put back.
	keep func() error

	mu      sync.Mutex // guards following
	changed []Setting
}

// NewSettings gives Settings of which changed are known, as an earlier agent
// has left them. Keep is called before each change; it may be nil.
func NewSettings(changed []Setting, keep func() error) *Settings {
	return &Settings{keep: keep, changed: slices.Clone(changed)}
}

// Changed gives what Restore would put back.
func (s *Settings) Changed() []Setting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.changed)
}

// Restore puts everything back as it was, going on after an error. One that
// somebody has changed again meanwhile is put back, too.
func (s *Settings) Restore() error {
	s.mu.Lock()
	changed := s.changed
	s.changed = nil
	s.mu.Unlock()
	return restore(changed)
}

func restore(changed []Setting) error {
	var errs []error
	for _, c := range changed {
		if !c.Differs() {
			continue // or its device is gone
		}
		errs = append(errs, sysctl{c.Path, c.Value, ""}.ensure())
	}
	return errors.Join(errs...)
}

// Note has s know what the settings below macvlan devices of addresses are before
// the first Claim changes them, and puts those back that none of addresses needs. It
// reports whether Changed is other than before: keep is not called.
func (s *Settings) Note(addresses ...*Address) (bool, error) {
	needed := map[string]string{} // what they become, by path
	for _, a := range addresses {
		for _, d := range a.devices {
			if d.parent == "" {
				continue
			}
			for _, c := range below(d.parent) {
				needed[c.path] = c.want
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	isNeeded := func(c Setting) bool { _, is := needed[c.Path]; return is }
	before := len(s.changed)
	ended := slices.DeleteFunc(slices.Clone(s.changed), isNeeded)
	s.changed = slices.DeleteFunc(s.changed, func(c Setting) bool { return !isNeeded(c) })
	changed := len(s.changed) != before
	for _, path := range slices.Sorted(maps.Keys(needed)) {
		if slices.ContainsFunc(s.changed, func(c Setting) bool { return c.Path == path }) {
			continue
		}
		text, err := os.ReadFile("/proc/sys/net/" + path)
		if err != nil {
			continue // Claim says so
		}
		s.changed = append(s.changed, Setting{path, strings.TrimSpace(string(text)), needed[path]})
		changed = true
	}
	return changed, restore(ended)
}

// set changes a setting, after what it was is written down. That this cannot be
// done is no reason not to change it.
func (s *Settings) set(path, value string) error {
	text, err := os.ReadFile("/proc/sys/net/" + path)
	if err != nil {
		return err
	}
	was := strings.TrimSpace(string(text))
	if was == value {
		return nil
	}
	s.mu.Lock()
	known := slices.ContainsFunc(s.changed, func(c Setting) bool { return c.Path == path })
	if !known {
		s.changed = append(s.changed, Setting{Path: path, Value: was})
	}
	s.mu.Unlock()
	var kept error
	if s.keep != nil && !known {
		kept = s.keep()
	}
	return errors.Join(sysctl{path, value, ""}.ensure(), kept)
}

// HideFromARP has no interface of this host answer for an address that it has
// not itself, nor ask its neighbours in the name of one, which would tell them
// that it is here. It is every interface, as Linux answers on each of them for
// all addresses of the host: a second one in the network of the VIP would take
// it back. The settings of all interfaces do that, of which the higher value
// counts; iface is the VIP's.
func (s *Settings) HideFromARP(iface string) error {
	switch now, err := highest("arp_ignore", iface); {
	case err != nil:
		return err
	case now > 3 && now != 8: // all others do as 0
		return fmt.Errorf("net.ipv4.conf.*.arp_ignore=%d has no meaning; set it to 1", now)
	}
	const all, ignore, best = "all", 1, 2 // best: of the addresses of the interface
	for name, least := range map[string]int{"arp_ignore": ignore, "arp_announce": best} {
		now, err := setting(name, all)
		if err == nil && now < least {
			err = s.set("ipv4/conf/all/"+name, strconv.Itoa(least))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// AcceptLocal has the interface take packets from an address of this host.
func (s *Settings) AcceptLocal(iface string) error {
	path := "ipv4/conf/" + iface + "/"
	now, err := highest("accept_local", iface)
	if err == nil && now == 0 {
		err = s.set(path+"accept_local", "1")
	}
	if err != nil {
		return err
	}
	const strict = 1 // takes them from lo only
	now, err = highest("rp_filter", iface)
	if err != nil || now != strict {
		return err
	}
	return s.set(path+"rp_filter", "2")
}
