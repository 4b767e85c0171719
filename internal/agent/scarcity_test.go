package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"holdfast/internal/vip/conntrack"
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
		u := conntrack.Use{Count: tt.count, Max: tt.max}
		if got := lackOfTracking(u, tt.known) != nil; got != tt.want {
			t.Errorf("%v, known %v: %v", u, tt.known, got)
		}
	}
}
