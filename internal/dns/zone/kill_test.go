package zone

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"holdfast/internal/dns"
	"holdfast/internal/dns/dnstest"
)

// victimEnv tells this test binary to apply or roll back and to be killed at a step.
const victimEnv = "HOLDFAST_DNS_TEST_VICTIM"

// TestMain lets TestKilledAtEveryStep run this binary as its victim.
func TestMain(m *testing.M) {
	if order := os.Getenv(victimEnv); order != "" {
		if err := victim(strings.Split(order, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim does as it is told: WHAT|STEP|PRIMARY|KEYFILE|STATEDIR. At the step of
// that number it kills itself, as a power cut would.
func victim(order []string) error {
	step, err := strconv.Atoi(order[1])
	if err != nil {
		return err
	}
	primary, err := netip.ParseAddrPort(order[2])
	if err != nil {
		return err
	}
	t := &fakeT{}
	b := &bed{t: t, net: &dnstest.Net{KeyFile: order[3]}, primary: primary, state: order[4]}
	a := b.applier()
	at := 0
	a.step = func(name string) {
		if at++; at == step {
			fmt.Println(name) // not buffered
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if order[0] == "apply" {
		_, err = a.Apply(context.Background(), b.plan(dns.PlanOptions{}))
	} else {
		_, err = a.Rollback(context.Background(), b.latest(), false)
	}
	return err
}

// fakeT is a testing.TB outside of a test, for the victim.
type fakeT struct{ testing.TB }

func (*fakeT) Helper()                  {}
func (*fakeT) Context() context.Context { return context.Background() }
func (*fakeT) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }

// kill runs the victim until step, and gives that step's name; "" when it came
// to its end before.
func (b *bed) kill(what string, step int) string {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d|%s|%s|%s", victimEnv, what, step, b.primary, b.net.KeyFile, b.state))
	var out, errors strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errors
	err = cmd.Run()
	if err == nil {
		return ""
	}
	if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		b.t.Fatalf("%s: %v: %s", what, err, errors.String())
	}
	line, _, _ := bufio.NewReader(strings.NewReader(out.String())).ReadLine()
	return string(line)
}

// tear leaves half a line at the end of the newest journal, as a power cut may.
func (b *bed) tear() {
	b.t.Helper()
	names, err := b.applier().Journals.Names()
	if err != nil || len(names) == 0 {
		return
	}
	f, err := os.OpenFile(filepath.Join(b.state, "dns", names[len(names)-1]), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"kind":"chang`); err != nil {
		b.t.Fatal(err)
	}
}

// rollback does what a person would after a crash, and looks whether the zone is first.
func (b *bed) rollback(first []string) {
	b.t.Helper()
	for range 2 { // the second time there is nothing left to do
		if _, err := b.applier().Rollback(b.t.Context(), b.latest(), false); err != nil {
			b.t.Errorf("rollback: %v", err)
		}
		b.same(first)
	}
	if left := b.latest(); left != nil {
		b.t.Errorf("there is still something to roll back: %+v", left)
	}
}

// TestKilledAtEveryStep kills the process, with SIGKILL, at every step of an
// apply, and at every step of a rollback. A rollback after that gives the zone
// as it was at first, by a transfer of all of it.
func TestKilledAtEveryStep(t *testing.T) {
	b := newBed(t, cloudZone)
	first := b.transfer(b.primary)
	var steps []string
	for step := 1; step < 100; step++ {
		b.t = t
		name := b.kill("apply", step)
		if name == "" {
			break
		}
		steps = append(steps, name)
		if step%2 == 0 {
			b.tear()
		}
		b.rollback(first)
		if t.Failed() {
			t.Fatalf("killed at step %d of apply (%s)", step, name)
		}
	}
	if want := "created begun intended replaced changed verified intended replaced changed verified applied"; strings.Join(steps, " ") != want {
		t.Errorf("killed at these steps: %v, want %s", steps, want)
	}
	b.rollback(first) // of the last one, which came to its end
	steps = nil
	for step := 1; step < 100; step++ {
		if name := b.kill("apply", 0); name != "" {
			t.Fatalf("apply died at %s", name)
		}
		name := b.kill("rollback", step)
		if name == "" {
			break
		}
		steps = append(steps, name)
		if step%2 == 0 {
			b.tear()
		}
		b.rollback(first)
		if t.Failed() {
			t.Fatalf("killed at step %d of rollback (%s)", step, name)
		}
	}
	if want := "undoing put back undone restored undoing put back undone restored back"; strings.Join(steps, " ") != want {
		t.Errorf("killed at these steps: %v, want %s", steps, want)
	}
	b.rollback(first)
}

// TestApplyAfterACrash: the next apply goes on with what the crash left, and
// one rollback takes back both.
func TestApplyAfterACrash(t *testing.T) {
	b := newBed(t, cloudZone)
	first := b.transfer(b.primary)
	if name := b.kill("apply", 6); name != "verified" { // one of two hostnames is done
		t.Fatalf("killed at %q", name)
	}
	if name := b.kill("apply", 0); name != "" {
		t.Fatalf("died at %s", name)
	}
	if all := b.latest(); len(all) != 2 || all[0].Begin.Continues != all[1].Name || len(all[0].Changes) != 1 {
		t.Errorf("journals: %+v", all)
	}
	b.rollback(first)
}

// TestRollbackOfOlderJournals undoes what holdfast wrote before journals were
// package changelog's: of an apply that was killed within a line, and of the one
// that went on with it.
func TestRollbackOfOlderJournals(t *testing.T) {
	b := newBed(t, cloudZone)
	first := b.transfer(b.primary)
	b.kill("apply", 0)
	dir := b.applier().Journals.Dir
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS("testdata/journals")); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("PRIMARY", b.primary.String(), "KEYFILE", b.net.KeyFile)
	for _, name := range []string{"20261130T135138Z.jsonl", "20261130T135138Z-2.jsonl"} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(fill.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all := b.latest(); len(all) != 2 || !all[1].Torn || all[0].Begin.Detail.KeyFile != b.net.KeyFile {
		t.Errorf("journals: %+v", all)
	}
	b.rollback(first)
}
