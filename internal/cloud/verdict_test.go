package cloud

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

// TestVerdict says of each state of a cloud what somebody who is woken wants to know first.
func TestVerdict(t *testing.T) {
	lost := func(a *Answer) { lose(a, "no answer within 1s") }
	for name, tt := range map[string]struct {
		change  func([]Answer)
		want    string
		serving Serving
	}{
		"well": {func([]Answer) {}, "serving; all is well", Serves},
		"a controller is lost": {func(a []Answer) {
			lost(&a[2])
			a[0].Snapshot.Paths = []status.Path{{Host: "ctl3", Silent: 20, SilentSince: now.Add(-8*time.Hour - 28*time.Minute)}}
			a[1].Snapshot.Paths = []status.Path{{Host: "ctl3", Silent: 20, SilentSince: now.Add(-8 * time.Hour)}}
		}, "serving; ctl3 lost since 02:14; no action needed now", Serves},
		"a controller that nobody knows of": {func(a []Answer) { lost(&a[2]) }, "serving; ctl3 lost; no action needed now", Serves},
		"an agent is down": {func(a []Answer) {
			lose(&a[2], "connection refused")
			a[2].Reached = true
			a[0].Snapshot.Paths = []status.Path{{Host: "ctl3", RefusedSince: now.Add(-time.Minute)}}
		}, "serving; agent of ctl3 down since 10:41; no action needed now", Serves},
		"yesterday": {func(a []Answer) {
			lost(&a[2])
			a[0].Snapshot.Paths = []status.Path{{Host: "ctl3", Silent: 20, SilentSince: now.Add(-24 * time.Hour)}}
		}, "serving; ctl3 lost since 11-21 10:42; no action needed now", Serves},
		"a host of a service": {func(a []Answer) { checkAll(a, "nova", "ctl2", status.Down, "refused") },
			"serving; nova down on ctl2 since 10:32; no action needed now", Serves},
		"a service": {func(a []Answer) {
			for _, h := range []string{"ctl1", "ctl2", "ctl3"} {
				checkAll(a, "nova", h, status.Down, "refused")
			}
		}, "serving in part: nova down since 10:32; act now", ServesPartly},
		"all services": {func(a []Answer) {
			for _, h := range []string{"ctl1", "ctl2", "ctl3"} {
				checkAll(a, "nova", h, status.Down, "refused")
				checkAll(a, "keystone", h, status.Down, "refused")
			}
		}, "NOT serving: keystone down since 10:32, nova down since 10:32; act now", ServesNot},
		"no holder": {func(a []Answer) {
			a[0].Snapshot.VIPs[0].State, a[0].Snapshot.VIPs[0].Since = status.Initialize, now.Add(-2*time.Minute)
		}, "NOT serving: nobody holds VIP api since 10:40; act now", ServesNot},
		"two holders": {func(a []Answer) {
			a[1].Snapshot.VIPs[0].State, a[1].Snapshot.VIPs[0].Present, a[1].Snapshot.VIPs[0].Since = status.Active, true, now.Add(-3*time.Minute)
		}, "serving in part: VIP api held twice since 10:39; act now", ServesPartly},
		"the holder's HAProxy hangs": {func(a []Answer) {
			a[0].Snapshot.HAProxy.State, a[0].Snapshot.HAProxy.Since = status.HAProxyHung, now.Add(-time.Minute)
		}, "NOT serving: HAProxy of ctl1 hung since 10:41; act now", ServesNot},
		"another HAProxy hangs": {func(a []Answer) {
			a[1].Snapshot.HAProxy.State, a[1].Snapshot.HAProxy.Since = status.HAProxyHung, now.Add(-time.Minute)
		}, "serving; HAProxy of ctl2 hung since 10:41; no action needed now", Serves},
		"nobody answers": {func(a []Answer) {
			for i := range a {
				lost(&a[i])
			}
		}, "unknown whether it serves: no controller answers, ctl1 lost and 2 more; act now", ServesMaybe},
		"cut off": {func(a []Answer) {
			lost(&a[1])
			lost(&a[2])
			a[0].Snapshot.Findings = []status.Finding{{Severity: status.Error, Code: status.CodeIsolated, Subject: "controller ctl1", Text: "x", Since: now.Add(-time.Minute)}}
		}, "unknown whether it serves: ctl1 reaches no other since 10:41, ctl2 lost and 1 more; act now", ServesMaybe},
		"drained": {func(a []Answer) {
			a[1].Snapshot.Drains = []status.Drained{{Since: now.Add(-time.Minute)}}
		}, "serving; ctl2 drained since 10:41; no action needed", Serves},
		"much": {func(a []Answer) {
			checkAll(a, "nova", "ctl2", status.Down, "refused")
			a[1].Snapshot.Config.Digest = "000000000000"
			a[2].Snapshot.HAProxy.State, a[2].Snapshot.HAProxy.Since = status.HAProxyDown, now.Add(-time.Minute)
		}, "serving; HAProxy of ctl3 down since 10:41, nova down on ctl2 since 10:32 and 1 more; no action needed now", Serves},
		"a host that has been late for a moment": {func(a []Answer) {
			h := &a[0].Snapshot.Services[1].Hosts[1]
			h.Condition, h.Evidence, h.ConditionSince = status.Late, "nothing came for 2s", now.Add(-2*time.Second)
		}, "serving; nova late on ctl2; no action needed", Serves},
		"what is only advice": {func(a []Answer) { a[1].Snapshot.Version = "1.0.1" }, "serving; all is well", Serves},
	} {
		t.Run(name, func(t *testing.T) {
			answers := cloudOf(3)
			tt.change(answers)
			got := Merge(now, "eqiad1", answers)
			if got.Verdict.Text != tt.want || got.Verdict.Serving != tt.serving {
				t.Errorf("got  %q, %s\nwant %q, %s", got.Verdict.Text, got.Verdict.Serving, tt.want, tt.serving)
			}
		})
	}
}

// TestFindingsSayWhatToDo has each finding of Merge say whether a person must act, where more is
// told, and, where something can be done, by which command.
func TestFindingsSayWhatToDo(t *testing.T) {
	a := cloudOf(3)
	checkAll(a, "nova", "ctl2", status.Down, "refused")
	lose(&a[2], "no answer within 1s")
	a[0].Snapshot.Findings = []status.Finding{{Severity: status.Warning, Code: status.CodeDiskFull, Subject: "state of ctl1", Text: "full", Since: now.Add(-time.Hour)}}
	var got []string
	for _, f := range Merge(now, "eqiad1", a).Findings {
		got = append(got, string(f.Action)+" "+f.Brief+" | "+f.Command+" | "+f.See)
	}
	want := `soon ctl3 lost | ping -c 3 10.0.0.3 | docs/troubleshooting.md#controller-unreachable
soon nova down on ctl2 | ssh ctl2 systemctl status 'nova*' | docs/troubleshooting.md#host-down
soon disk of ctl1 full | ssh ctl1 df -h /var/lib/holdfast | docs/troubleshooting.md#disk-full`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// TestCommandsAreSafe has no word of another machine be a command of its own.
func TestCommandsAreSafe(t *testing.T) {
	for _, word := range []string{"", "-oProxyCommand=x", "-v", "a;b", "a b", "a'b", "$(x)", "a\nb", "a`b`", "a|b", "a>b", "~a", "*"} {
		if got := command("ssh %1 df", word); got != "" {
			t.Errorf("%q gives %q", word, got)
		}
	}
	if got := command("ssh %1 cat %2", "ctl1.example.org", "/etc/holdfast/holdfast.yaml"); got != "ssh ctl1.example.org cat /etc/holdfast/holdfast.yaml" {
		t.Error(got)
	}
}

// TestActionsFollowWhoHolds wakes nobody for a controller that clients do not come to.
func TestActionsFollowWhoHolds(t *testing.T) {
	for i, want := range []status.Action{status.ActNow, status.ActSoon} {
		a := cloudOf(3)
		a[i].Snapshot.Findings = []status.Finding{{Severity: status.Warning, Code: status.CodeConntrackFull, Subject: "kernel", Text: "full"}}
		if got := Merge(now, "eqiad1", a).Findings[0].Action; got != want {
			t.Errorf("ctl%d: %s, want %s", i+1, got, want)
		}
	}
	a := cloudOf(3)
	a[0].Snapshot.Findings = []status.Finding{{Severity: status.Info, Code: "x", Text: "y", Action: status.ActNow, Command: "rm -r /", See: "http://example.org", Brief: "z"}}
	if got := Merge(now, "eqiad1", a).Findings[0]; got.Action != status.ActNone || got.Command+got.See != "" || got.Brief != "x on ctl1" {
		t.Errorf("another machine's words are taken: %+v", got)
	}
	a = cloudOf(3)
	a[0].Snapshot.Findings = []status.Finding{{Severity: status.Error, Code: status.CodeVIPConflict, Subject: "vip api", Text: "ctl2 (10.0.0.2) says that 10.0.0.10 is its own"}}
	if got := Merge(now, "eqiad1", a).Findings[0]; got.Action != status.ActSoon || got.Brief != "ctl1 and ctl2 both have the VIP's address" {
		t.Errorf("%+v", got)
	}
}

// TestWhichReporterIsNamed: of several that report the same the one that clients feel is named,
// and looked at; where none holds a VIP the first.
func TestWhichReporterIsNamed(t *testing.T) {
	for holder, want := range map[int]string{0: "ctl1", 2: "ctl3", -1: "ctl2"} {
		answers := cloudOf(3)
		for i, a := range answers {
			a.Snapshot.VIPs[0].State, a.Snapshot.VIPs[0].Holder = status.Backup, ""
			if i == holder {
				a.Snapshot.VIPs[0].State = status.Active
			}
			if i > 0 || holder == 0 {
				a.Snapshot.Findings = []status.Finding{{Severity: status.Warning, Code: status.CodeConntrackFull, Text: "the table is full", Since: now}}
			}
		}
		for _, f := range Merge(now, "", answers).Findings {
			if f.Code != status.CodeConntrackFull {
				continue
			}
			if f.Brief != "table of connections of "+want+" full" || !strings.Contains(f.Command, want) {
				t.Errorf("%d holds it: %q, %q; want %s", holder, f.Brief, f.Command, want)
			}
			if act := status.ActSoon; holder < 0 && f.Action != act || holder >= 0 && f.Action == act {
				t.Errorf("%d holds it: act %s", holder, f.Action)
			}
		}
	}
}
