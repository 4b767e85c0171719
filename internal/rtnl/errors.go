package rtnl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Explain says what was being done to which interface, and what to do about it.
func (k *Conn) Explain(doing, iface string, err error) error {
	err = fmt.Errorf("%s %s: %w", doing, iface, err)
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w; there is no such interface here, only %s: correct the interface in the spec", err, k.names())
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; run as root or with CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w; IPv6 is off there: sysctl net.ipv6.conf.%s.disable_ipv6=0", err, iface)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w; this kernel has no such devices: modprobe macvlan, or use device: direct", err)
	}
	return err
}

// names lists the interfaces, for a person.
func (k *Conn) names() string {
	all, err := k.Links()
	if err != nil {
		return fmt.Sprintf("(cannot list them: %v)", err)
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	const enough = 20
	if len(names) > enough {
		names = append(names[:enough], "…")
	}
	return strings.Join(names, ", ")
}
