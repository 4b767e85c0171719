package conntrack

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Use is how many connections the kernel tracks in this network
// namespace, and how many it can. Beyond that it drops whatever would be one
// more: new connections to and from this host, and adverts of VRRP.
type Use struct{ Count, Max int }

// Share gives how much of the table is used, 0 to 1; 0 where nothing is tracked.
func (u Use) Share() float64 {
	if u.Max <= 0 {
		return 0
	}
	return float64(u.Count) / float64(u.Max)
}

// String gives "N of MAX".
func (u Use) String() string { return fmt.Sprintf("%d of %d", u.Count, u.Max) }

// ReadUse asks the kernel; it is zero where the kernel has no conntrack.
func ReadUse() (Use, error) {
	var u Use
	for name, to := range map[string]*int{"count": &u.Count, "max": &u.Max} {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + name)
		if errors.Is(err, os.ErrNotExist) {
			return Use{}, nil
		}
		if err == nil {
			*to, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		if err != nil {
			return Use{}, fmt.Errorf("read how many connections are tracked: %w", err)
		}
	}
	return u, nil
}
