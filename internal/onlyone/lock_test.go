package onlyone

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestSecondAgentIsRefusedAndToldOfTheFirst(t *testing.T) {
	first, err := Acquire(t.Context(), t.TempDir(), "lock-test-1")
	if err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprintf("process %d", os.Getpid())

	_, err = Acquire(t.Context(), t.TempDir(), "lock-test-1")
	if err == nil || !strings.Contains(err.Error(), self) || !strings.Contains(err.Error(), "lock-test-1") {
		t.Errorf("second agent of the same controller: got %v, want a refusal that names %s", err, self)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire(t.Context(), t.TempDir(), "lock-test-1")
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

func TestSameRunDirectoryIsRefusedForAnotherController(t *testing.T) {
	dir := t.TempDir()
	first, err := Acquire(t.Context(), dir, "lock-test-2")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release() //nolint:errcheck // the test is over
	_, err = Acquire(t.Context(), dir, "lock-test-3")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("got %v, want a refusal that names the first process", err)
	}
}
