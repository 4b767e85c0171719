package lab

import (
	"bufio"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPause stops a process with those below it, and no other, and lets them go on.
func TestPause(t *testing.T) {
	// It says one line when all of it runs, and one more for each line that it reads.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 600 & a=$!; sleep 600 & echo up; read line; echo on; kill $a $!")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); line != "up\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	l := &Lab{cmd: cmd}
	all, err := descendants(cmd.Process.Pid)
	if err != nil || len(all) != 3 || all[0] != cmd.Process.Pid {
		t.Fatalf("%d and below it: %v, %v", cmd.Process.Pid, all, err)
	}
	if err := l.Pause(); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(all, func(pid int) bool { return !isStopped(pid) }); i >= 0 {
		t.Errorf("the %d-th of %v still runs", i, all)
	}
	if isStopped(unix.Getpid()) {
		t.Error("so is this process")
	}
	if err := l.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("go on\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); line != "on\n" {
		t.Errorf("resumed, it says %q, %v", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
