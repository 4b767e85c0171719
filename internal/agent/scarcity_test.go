package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"holdfast/internal/vip"
)

func TestLackOfDisk(t *testing.T) {
	dir := t.TempDir()
	if f := lackOfDisk(dir); f != nil {
		t.Errorf("%+v of a disk with room", f)
	}
	if f := lackOfDisk(filepath.Join(dir, "gone")); f == nil {
		t.Error("nothing of a directory that is not there")
	}
}

func TestOutOfFiles(t *testing.T) {
	full := &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	for err, want := range map[error]bool{nil: false, full: true, fmt.Errorf("x: %w", syscall.ENFILE): true, syscall.ECONNREFUSED: false} {
		if got := outOfFiles(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if f := lackOfFiles(); f != nil {
		t.Errorf("%+v with descriptors to spare", f)
	}
}

// TestLackOfTracking says it from 80 % on, and until it is below 70 %.
func TestLackOfTracking(t *testing.T) {
	for _, tt := range []struct {
		count, max int
		known      bool
		want       bool
	}{
		{0, 0, false, false},
		{79, 100, false, false},
		{80, 100, false, true},
		{100, 100, false, true},
		{79, 100, true, true},
		{69, 100, true, false},
		{0, 0, true, false},
	} {
		u := vip.ConntrackUse{Count: tt.count, Max: tt.max}
		if got := lackOfTracking(u, tt.known) != nil; got != tt.want {
			t.Errorf("%v, known %v: %v", u, tt.known, got)
		}
	}
}

// TestNoRoomToTrack has a detour switch conntrack on, where its table is of a size.
func TestNoRoomToTrack(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, count int
		max           int
		narrow        bool
		conns, rate   int
		want          bool
	}{
		{"the usual size", 0, 10, 262144, false, 500, 300, false},
		{"too many new ones", 0, 10, 65536, false, 500, 300, true},
		{"too many open ones", 0, 10, 65536, false, 30000, 0, true},
		{"it was on already", 5, 10, 65536, false, 500, 300, false},
		{"the VIP's alone", 0, 10, 65536, true, 500, 300, false},
		{"the VIP's alone, and an earlier move's", 5, 10, 65536, true, 500, 300, false},
		{"too many of the VIP's", 5, 10, 65536, true, 500, 450, true},
		{"nothing known of the table", 0, 0, 0, false, 500, 300, false},
		{"nothing known of the giver", 0, 10, 65536, false, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			why := noRoomFor(vip.ConntrackUse{Count: tt.before, Max: tt.max}, vip.ConntrackUse{Count: tt.count, Max: tt.max}, tt.narrow, tt.conns, tt.rate)
			if (why != "") != tt.want {
				t.Errorf("got %q", why)
			}
		})
	}
}
