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
	settings := []sysctl{
		// The interface must not answer for the VIP with its own MAC address,
		// nor tell it to those whom it asks for on behalf of the VIP's connections.
		{"ipv4/conf/" + parent + "/arp_ignore", "1", "2"},
		{"ipv4/conf/" + parent + "/arp_announce", "2", ""},
		// The device must not answer for any other address of the host.
		{"ipv4/conf/" + name + "/arp_ignore", "1", ""},
		// The replies leave by the interface: reverse path filtering must be
		// loose. That of all interfaces cannot undo it, the higher value counts.
		{"ipv4/conf/" + name + "/rp_filter", "2", ""},
	}
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

// hideFromARP has the interface neither answer for an address that it has not
// itself, nor ask its neighbours in the name of one, which would tell them that
// it is here.
func hideFromARP(name string) error {
	path := "ipv4/conf/" + name + "/"
	switch now, err := highest("arp_ignore", name); {
	case err != nil:
		return err
	case now == 0:
		if err := (sysctl{path + "arp_ignore", "1", ""}).ensure(); err != nil {
			return err
		}
	case now > 3 && now != 8: // all others do as 0
		return fmt.Errorf("net.ipv4.conf.*.arp_ignore=%d has no meaning; set it to 1", now)
	}
	const best = 2 // of the addresses of the interface
	if now, err := highest("arp_announce", name); err != nil || now >= best {
		return err
	}
	return sysctl{path + "arp_announce", strconv.Itoa(best), ""}.ensure()
}

// acceptLocal has the interface take packets from an address of this host. It
// gives what it has changed, as it was.
func acceptLocal(name string) (changed []sysctl, err error) {
	path := "ipv4/conf/" + name + "/"
	now, err := highest("accept_local", name)
	if err == nil && now == 0 {
		err = sysctl{path + "accept_local", "1", ""}.ensure()
		if err == nil {
			changed = append(changed, sysctl{path + "accept_local", "0", ""})
		}
	}
	if err != nil {
		return changed, err
	}
	const strict = 1 // takes them from lo only
	now, err = highest("rp_filter", name)
	if err != nil || now != strict {
		return changed, err
	}
	was, err := setting("rp_filter", name)
	if err == nil {
		err = sysctl{path + "rp_filter", "2", ""}.ensure()
	}
	if err != nil {
		return changed, err
	}
	return append(changed, sysctl{path + "rp_filter", strconv.Itoa(was), ""}), nil
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
