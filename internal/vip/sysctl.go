package vip

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A sysctl is a file below /proc/sys/net and the value that it must have.
type sysctl struct {
	path string
	want string
	// unless is a value that is left as it is.
	unless string
}

// prepareMacvlan sets what a device with a second MAC address in the same
// network needs. What is right already is not written, so a read-only /proc/sys
// is no hindrance where an administrator has set it.
func prepareMacvlan(name, parent string, v6 bool) error {
	settings := append(below(parent), []sysctl{
		// The device must not answer for any other address of the host.
		{"ipv4/conf/" + name + "/arp_ignore", "1", ""},
		// The replies leave by the interface: reverse path filtering must be
		// loose. That of all interfaces cannot undo it, the higher value counts.
		{"ipv4/conf/" + name + "/rp_filter", "2", ""},
	}...)
	if v6 {
		// No address of its own, which would make the virtual MAC address speak.
		settings = append(settings,
			sysctl{"ipv6/conf/" + name + "/addr_gen_mode", "1", ""},
			sysctl{"ipv6/conf/" + name + "/accept_ra", "0", ""})
	} else {
		settings = append(settings, sysctl{"ipv6/conf/" + name + "/disable_ipv6", "1", ""})
	}
	var errs []error
	for _, s := range settings {
		errs = append(errs, s.ensure())
	}
	return errors.Join(errs...)
}

// below gives what the interface below the device needs. It must not answer for the
// VIP with its own MAC address, nor tell it to those whom it asks for on behalf of the
// VIP's connections. It outlives the device: Settings.Note puts it back.
func below(parent string) []sysctl {
	return []sysctl{
		{"ipv4/conf/" + parent + "/arp_ignore", "1", "2"},
		{"ipv4/conf/" + parent + "/arp_announce", "2", ""},
	}
}

func (s sysctl) ensure() error {
	path := "/proc/sys/net/" + s.path
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.path, "ipv6/") {
		return nil // a kernel without IPv6
	}
	if err != nil {
		return err
	}
	if now := strings.TrimSpace(string(text)); now == s.want || now == s.unless {
		return nil
	}
	if err := os.WriteFile(path, []byte(s.want), 0); err != nil {
		return fmt.Errorf("%w; write %s there", err, s.want)
	}
	return nil
}

// highest gives the higher value of the setting for all interfaces and that for
// one: the one that counts, of some settings.
func highest(name, iface string) (int, error) {
	all, err := setting(name, "all")
	if err != nil {
		return 0, err
	}
	own, err := setting(name, iface)
	return max(all, own), err
}

func setting(name, iface string) (int, error) {
	path := "/proc/sys/net/ipv4/conf/" + iface + "/" + name
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return value, nil
}
