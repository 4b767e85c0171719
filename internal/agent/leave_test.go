package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/status"
)

// eventsOf gives the events of a kind.
func eventsOf(d *running, kind string) []status.Event {
	var all []status.Event
	for _, e := range d.journal.Last(100) {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// TestLastStop proves that the agent that ends the service by its end says so: what is
// gone, from when on, and why; in the journal, and as an error in the log.
func TestLastStop(t *testing.T) {
	h := newHost(t)
	d := h.start()
	d.awaitActive()
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	said := eventsOf(d, status.EventVIPLeft)
	if len(said) != 1 || said[0].Subject != "vip api" || said[0].Cause == "" || !strings.Contains(said[0].Text, "192.0.2.10 is gone from the network, and clients reach no service") {
		t.Errorf("the last agent ends with the words %+v", said)
	}
	if !strings.Contains(h.logs.String(), "level=ERROR msg=\"the agent ends and nobody takes vip api") {
		t.Error("the log has no error of it")
	}
}

// advertiseVersion2 has a stranger, beyond the peer of eno1, advertise the VIP in VRRP of
// version 2, as kolla-ansible's keepalived does.
func advertiseVersion2(t *testing.T) {
	t.Helper()
	peer, err := netlink.LinkByName("peer")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	frame := []byte{
		0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x02, 0x00, 0x5e, 0x10, 0x00, 0x4d, 0x08, 0x00, // to the group, from a MAC address of its own
		0x45, 0xc0, 0, 40, 0, 1, 0, 0, 255, 112, 0, 0, 192, 0, 2, 77, 224, 0, 0, 18, // without the header's checksum: nobody obeys it
		0x21, 7, 100, 1, 0, 1, 0, 0, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, // RFC 3768 section 5.3
	}
	if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: peer.Attrs().Index, Halen: 6}); err != nil {
		t.Fatal(err)
	}
}

// TestKeepAddressUntilVersion2 proves that an agent which keeps the VIP until the old
// set-up has it ends when that is a keepalived of version 2, which no VRRP loop hears;
// and that one which is not about to end stays.
func TestKeepAddressUntilVersion2(t *testing.T) {
	h := newHost(t)
	h.keystone()
	h.opt.KeepAddress = time.Hour
	d := h.start()
	d.awaitActive()
	advertiseVersion2(t)
	h.await("the stranger is told of", func() bool {
		return slices.ContainsFunc(d.Snapshot().Findings, func(f status.Finding) bool { return f.Code == status.CodeForeignRouter })
	})
	if s := d.Snapshot().VIPs[0].State; s != status.Active {
		t.Fatalf("the VIP is %s beside a stranger, which is not obeyed", s)
	}
	d.stop()
	h.await("it gives way to anybody", func() bool { return d.Snapshot().VIPs[0].Priority == 1 })
	advertiseVersion2(t)
	if err := d.end(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if said := eventsOf(d, status.EventVIPLeft); len(said) > 0 {
		t.Errorf("it says that nobody has the VIP: %+v", said)
	}
}

// TestKeepAddress proves that the last agent of all goes on with the VIP when it is
// asked to, as one that gives way to anybody, and ends once it does not hold it.
func TestKeepAddress(t *testing.T) {
	h := newHost(t)
	h.keystone()
	h.opt.KeepAddress = time.Hour
	d := h.start()
	d.awaitActive()
	d.stop()
	h.await("it says that it goes on", func() bool { return len(eventsOf(d, status.EventVIPKept)) == 1 })
	h.await("it gives way to anybody", func() bool { return d.Snapshot().VIPs[0].Priority == 1 })
	time.Sleep(2500 * time.Millisecond) // longer than a lease: nothing is to end
	select {
	case err := <-d.ended:
		t.Fatalf("the agent ended with the VIP: %v", err)
	default:
	}
	if got, err := get("http://192.0.2.10:5000/v3"); err != nil || !strings.HasPrefix(got, "200") {
		t.Errorf("the VIP answers %q, %v", got, err)
	}
	eno1, err := netlink.LinkByName("eno1")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(eno1); err != nil { // it loses the VIP, as to another holder
		t.Fatal(err)
	}
	if err := d.end(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if said := eventsOf(d, status.EventVIPLeft); len(said) > 0 {
		t.Errorf("it says that it left what it did not have: %+v", said)
	}
}
