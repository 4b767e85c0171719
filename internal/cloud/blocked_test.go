package cloud

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/status"
)

const remedy = "let IP protocol 112 (VRRP) through"

// block has two agents find that adverts do not pass from one to the other, as package hearing
// does; refused is why the kernel does not send them.
func block(answers []Answer, from, to int, refused string) {
	name := func(i int) string { return answers[i].Name }
	f := status.Finding{Severity: status.Warning, Code: status.CodeAdvertsBlocked, Subject: "controller " + name(from), Remedy: remedy, Since: now.Add(-time.Duration(to+1) * time.Minute)}
	there, here := f, f
	there.Text = "adverts of " + name(from) + " for vip api do not arrive at " + name(to) + ", whose agent answers: were " + name(from) + " to hold the address, both would"
	if refused != "" {
		there.Text += "; the kernel here does not send them (" + refused + "), so a filter of this host drops them"
	}
	here.Text = "adverts of " + name(from) + " for vip api do not arrive here, and its agent answers: were it to hold the address, both would"
	answers[from].Snapshot.Findings = append(answers[from].Snapshot.Findings, there)
	answers[to].Snapshot.Findings = append(answers[to].Snapshot.Findings, here)
}

// TestBlockedIsToldOnce: one filter is one finding, of whoever is at its ends, whatever all
// agents say of it.
func TestBlockedIsToldOnce(t *testing.T) {
	const denied = "send an advert to 10.0.0.1: operation not permitted"
	conflict := func(answers []Answer) {
		answers[0].Snapshot.Findings = append(answers[0].Snapshot.Findings, status.Finding{
			Severity: status.Error, Code: status.CodeVIPConflict, Subject: "vip api", Since: now.Add(-10 * time.Second),
			Text: "ctl2 (10.0.0.2) (MAC address 02:00:00:00:00:02) says that 10.0.0.10 is its own, and so does this controller: clients come to one or the other",
		})
	}
	for name, test := range map[string]struct {
		change func([]Answer)
		want   []string
	}{
		"a filter of its own": {func(a []Answer) { block(a, 1, 0, denied); block(a, 1, 2, denied) }, []string{
			"adverts-blocked: controller ctl2: a filter of ctl2 drops its adverts for vip api (" + denied + "): they do not arrive at ctl1, ctl3; were it to hold the address, both would; adverts of ctl2 blocked; ssh ctl2 nft list ruleset",
		}},
		"a filter of its own, after a conflict": {func(a []Answer) { conflict(a); block(a, 1, 0, denied); block(a, 1, 2, denied) }, []string{
			"adverts-blocked: controller ctl2: a filter of ctl2 drops its adverts for vip api (" + denied + "): they do not arrive at ctl1, ctl3; were it to hold the address, both would; it has come to that: two had it at 10:41:57, until one gave way; adverts of ctl2 blocked; ssh ctl2 nft list ruleset",
		}},
		"while two hold it": {func(a []Answer) {
			conflict(a)
			a[1].Snapshot.VIPs[0].State, a[1].Snapshot.VIPs[0].Present = status.Active, true
			block(a, 1, 0, denied)
		}, []string{"vip-held-twice", "vip-conflict", "adverts-blocked"}},
		"on the way": {func(a []Answer) { block(a, 1, 0, ""); block(a, 1, 2, "") }, []string{
			"adverts-blocked: controller ctl2: adverts of ctl2 for vip api do not arrive at ctl1, ctl3, and all agents answer: were it to hold the address, both would; adverts of ctl2 blocked; ssh ctl2 timeout 5 tcpdump -ni eno1 vrrp",
		}},
		"what comes in": {func(a []Answer) { block(a, 0, 2, ""); block(a, 1, 2, "") }, []string{
			"adverts-blocked: controller ctl3: adverts of ctl1, ctl2 for vip api do not arrive at ctl3, and all agents answer: it may take the address while another has it; adverts to ctl3 blocked; ssh ctl3 timeout 5 tcpdump -ni eno1 vrrp",
		}},
		"both ways": {func(a []Answer) { block(a, 0, 2, ""); block(a, 1, 2, ""); block(a, 2, 0, ""); block(a, 2, 1, "") }, []string{
			"adverts-blocked: controller ctl3: adverts for vip api pass neither from ctl3 to ctl1, ctl2 nor from ctl1, ctl2 to it, and all agents answer: both may hold the address; adverts of and to ctl3 blocked; ssh ctl3 timeout 5 tcpdump -ni eno1 vrrp",
		}},
		"two filters": {func(a []Answer) { block(a, 0, 1, ""); block(a, 2, 3, "") }, []string{"adverts-blocked: controller ctl1: ", "adverts-blocked: controller ctl3: "}},
		"in the words of another release": {func(a []Answer) {
			a[1].Snapshot.Findings = append(a[1].Snapshot.Findings, status.Finding{Severity: status.Warning, Code: status.CodeAdvertsBlocked, Subject: "controller ctl2", Text: "nobody hears it"})
		}, []string{"adverts-blocked: controller ctl2: nobody hears it"}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := cloudOf(4)
			test.change(answers)
			got := Merge(now, "", answers).Findings
			if len(got) != len(test.want) {
				t.Errorf("%d findings, want %d: %+v", len(got), len(test.want), got)
				return
			}
			for i, f := range got {
				text := f.Code + ": " + f.Subject + ": " + f.Text + "; " + f.Brief + "; " + f.Command
				if !strings.HasPrefix(text, test.want[i]) {
					t.Errorf("%s\nwant %s", text, test.want[i])
				}
			}
		})
	}
}
