package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	overview "holdfast/internal/cloud"
	"holdfast/internal/lab"
	"holdfast/internal/status"
)

// says waits until the status of a node's agent has, or has no more, a finding
// of the code whose text has the words.
func (c *cloud) says(node, code, words string, want bool) {
	c.Helper()
	c.await(fmt.Sprintf("%s to say %s, %v", node, code, want), func() error {
		findings := c.snapshot(node).Findings
		has := slices.ContainsFunc(findings, func(f status.Finding) bool {
			return f.Code == code && strings.Contains(f.String(), words)
		})
		if has != want {
			return fmt.Errorf("%s has the findings %v", node, findings)
		}
		return nil
	})
}

// TestAdvertsBlocked has a controller whose adverts its own kernel drops: all say
// so, and nobody hands it the VIP. What the holder's filter drops costs it the VIP.
func TestAdvertsBlocked(t *testing.T) {
	c := sharedCloud(t)
	holder := c.holder()
	mute, third := c.others(holder)[0], c.others(holder)[1]
	c.fault("adverts-blocked", mute)
	c.says(mute, "adverts-blocked", "operation not permitted", true)
	c.says(holder, "adverts-blocked", "adverts of "+mute+" for vip", true)
	c.says(third, "adverts-blocked", "adverts of "+mute+" for vip", true)
	c.during(plannedLoad(4*time.Second), func() {
		out, code := c.run(holder, "holdfast", "handover", "--to", mute)
		if code != 1 || !strings.Contains(out, "its adverts do not arrive here") {
			t.Errorf("handover to one that is not heard: exit code %d: %s", code, out)
		}
	})
	if now := c.holder(); now != holder {
		t.Errorf("%s has the VIP, want %s to have kept it", now, holder)
	}
	c.during(plannedLoad(4*time.Second), func() {
		if out, code := c.run(holder, "holdfast", "handover"); code != 0 || !strings.Contains(out, third) {
			t.Errorf("handover to whoever can take it: exit code %d: %s", code, out)
		}
	})
	c.fault("back", mute)
	for _, node := range []string{mute, holder, third} {
		c.says(node, "adverts-blocked", "", false)
	}

	holder = c.holder()
	c.fault("adverts-blocked", holder)
	c.awaitHolder(c.others(holder)...)
	c.await("every service through the VIP", c.allAnswer)
	c.says(holder, "adverts-blocked", "operation not permitted", true)
	c.fault("back", holder)
	if _, err := lab.Inject(t.Context(), c.dir, lab.Fault{Kind: "adverts-blocked", Node: holder, Value: "in"}); err != nil {
		t.Fatal(err)
	}
	c.says(holder, "adverts-blocked", "", true)
	c.fault("back", holder)
	c.await("a whole lab", c.whole)
	c.await("nothing to be left of the handovers", c.settled)
}

// TestAddressStolen gives the holder's address to another machine for good: the holder says
// whose it is, keeps it, and so does nobody who could take it next.
func TestAddressStolen(t *testing.T) {
	c := sharedCloud(t)
	holder := c.holder()
	thief := c.others(holder)[0]
	before := c.snapshot(holder).VIPs[0].Claims
	c.fault("address-stolen", thief)
	c.says(holder, status.CodeVIPConflict, thief, true)
	if v := c.snapshot(holder).VIPs[0]; v.State != status.Active || v.Claims == before {
		t.Errorf("the holder is %s and has counted %d claims", v.State, v.Claims-before)
	}
	c.fault("back", thief)
	c.says(holder, status.CodeVIPConflict, "", false)
	c.await("a whole lab", c.whole)
}

// download fetches so many seconds of an answer through the VIP, in the background.
func (c *cloud) download(seconds int) <-chan string {
	done := make(chan string, 1)
	url := fmt.Sprintf("%s/stream/%d?s=%d", c.keystone(), seconds*100_000, seconds)
	go func() {
		out, _ := c.run("client", "curl", "-sS", "-m", "60", url, "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{time_total} %{errormsg}")
		done <- strings.TrimSpace(out)
	}()
	return done
}

// keystone gives the URL of Keystone at the VIP.
func (c *cloud) keystone() string {
	return "http://" + c.hostname() + ":5000"
}

// hostname gives that of the first VIP.
func (c *cloud) hostname() string {
	c.Helper()
	out, _ := c.run("holder", "holdfast", "status", "-o", "json")
	var all overview.Cloud
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		c.Fatal(err)
	}
	for _, controller := range all.Controllers {
		if controller.Snapshot != nil && len(controller.Snapshot.VIPs) > 0 {
			return controller.Snapshot.VIPs[0].Hostname
		}
	}
	c.Fatal("nobody says what the VIP is called")
	return ""
}

// TestFlushedInMidMove flushes, in the middle of a move, all that it needs in the
// kernel of the giver and of the taker: it is put back, and no download stands still.
func TestFlushedInMidMove(t *testing.T) {
	c := sharedCloud(t)
	needCurl(t)
	const seconds = 9
	for _, side := range []string{"giver", "taker"} {
		t.Run(side, func(t *testing.T) {
			c := &cloud{t, c.dir, c.binary}
			giver := c.holder()
			taker := c.others(giver)[0]
			victim := map[string]string{"giver": giver, "taker": taker}[side]
			done := c.download(seconds)
			time.Sleep(time.Second) // of the download before the move
			c.handOver(giver, taker)
			for range 3 {
				time.Sleep(time.Second)
				c.fault("flush-rules", victim)
			}
			out, _ := c.run(victim, "holdfast", "events", "-n", "1000", "--controller", victim)
			if n := strings.Count(out, "and it was put back"); n == 0 {
				t.Errorf("nothing was put back:\n%s", out)
			}
			// What comes to the taker in the very moment is reset: its kernel has no rules.
			want, got := fmt.Sprintf("200 %d", seconds*100_000), <-done
			if reset := strings.Contains(got, "reset"); !strings.HasPrefix(got, want) && (victim == giver || !reset) {
				t.Errorf("the download: %q, want %q", got, want)
			}
			t.Logf("the download: %s", got)
			c.await("nothing to be left of the handovers", c.settled)
		})
	}
}

// TestSourceGuard moves the VIP to a controller behind a switch that drops what
// it sends on. Where that is so before the move, it is said, and connections are
// reset, as they could not go on; where it begins afterwards, they are, within seconds.
func TestSourceGuard(t *testing.T) {
	c := sharedCloud(t)
	needCurl(t)
	const seconds = 40
	giver := c.holder()
	taker := c.others(giver)[0]
	c.fault("source-guard", taker)
	done := c.download(seconds)
	time.Sleep(time.Second)
	out, code := c.run(giver, "holdfast", "handover", "--to", taker)
	if code != 0 || !strings.Contains(out, "reset") || !strings.Contains(out, "does not arrive") {
		t.Errorf("handover through the guard: exit code %d: %s", code, out)
	}
	c.cutSoon(done)
	c.says(giver, "detour-blocked", taker, true)
	c.fault("heal", "")
	c.says(giver, "detour-blocked", "", false)

	c.handOver(taker, giver)
	c.await("nothing to be left of the handovers", c.settled)
	done = c.download(seconds)
	time.Sleep(time.Second)
	c.handOver(giver, taker)
	time.Sleep(time.Second)
	c.fault("source-guard", taker)
	c.cutSoon(done)
	c.says(giver, "detour-blocked", taker, true)
	c.fault("heal", "")
	c.says(giver, "detour-blocked", "", false)
	c.await("every service through the VIP", c.allAnswer)
	c.await("nothing to be left of the handovers", c.settled)
}

// cutSoon wants a download to be reset long before its time, not to stand still.
func (c *cloud) cutSoon(done <-chan string) {
	c.Helper()
	c.await("the download to be reset", func() error {
		select {
		case got := <-done:
			if !strings.Contains(got, "reset") && !strings.Contains(got, "Recv failure") {
				c.Errorf("the download: %q, want it to be reset", got)
			}
			return nil
		default:
			return errors.New("it goes on, or stands still")
		}
	})
}
