package netnstest

import "testing"

// A Bridge joins Namespaces. It forwards at once, and learns nothing of multicast.
type Bridge struct{ *Namespace }

// NewBridge makes a Bridge in a Namespace of its own.
func NewBridge(t testing.TB) Bridge {
	t.Helper()
	b := Bridge{New(t)}
	b.Run("ip link add br0 up type bridge forward_delay 0 mcast_snooping 0")
	return b
}

// Plug makes eth0 of n, up, and plugs it into the bridge's port of the name.
func (b Bridge) Plug(port string, n *Namespace) {
	b.t.Helper()
	b.Run("ip link add " + port + " type veth peer name eth0 netns " + n.Path())
	b.Run("ip link set " + port + " up master br0")
	n.Run("ip link set eth0 up")
}
