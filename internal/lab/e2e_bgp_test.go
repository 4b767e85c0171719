package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"holdfast/internal/lab"
)

// try runs a line for a shell on a node.
func (c *cloud) try(node, line string) (string, error) {
	var out, said bytes.Buffer
	code, err := lab.Command{Node: node, Args: []string{"sh", "-c", line}, Stdout: &out, Stderr: &said}.Run(context.Background(), c.dir)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, said.String())
	}
	return out.String(), err
}

// asked gives how many requests each controller's HAProxy has had in the last minute.
func (c *cloud) asked(from string) (map[string]int, error) {
	var seen struct {
		Controllers []struct {
			Name     string
			Snapshot *struct{ Clients []struct{ Requests int } }
		}
	}
	out, err := c.try(from, "holdfast status -o json")
	if json.Unmarshal([]byte(out), &seen) != nil {
		return nil, errors.Join(err, fmt.Errorf("it says %q", out))
	}
	all := map[string]int{}
	for _, controller := range seen.Controllers {
		if controller.Snapshot == nil {
			continue
		}
		for _, one := range controller.Snapshot.Clients {
			all[controller.Name] += one.Requests
		}
	}
	return all, nil
}

// TestBGP has a router of FRR lead to three controllers at once; loses one, drains another, and
// the third serves.
func TestBGP(t *testing.T) {
	if _, err := os.Stat("/usr/lib/frr/bgpd"); err != nil {
		t.Skip("FRR is not installed: apt-get install frr")
	}
	needCurl(t)
	c := newCloud(t, "bgp", string(lab.SampleBGP()))
	names := []string{"cloudcontrol1003", "cloudcontrol1004", "cloudcontrol1005"}
	ways := func(want ...string) {
		t.Helper()
		c.await(fmt.Sprintf("the router to lead to %d controllers", len(want)), func() error {
			out, err := c.try("router", "ip route show 203.0.113.10")
			for _, name := range names {
				at := "10.64.20.1" + name[len(name)-1:]
				if has := strings.Contains(out, "via "+at+" "); has != strings.Contains(strings.Join(want, " "), name) {
					err = errors.Join(err, fmt.Errorf("by %s: %v", name, has))
				}
			}
			return err
		})
	}
	ways(names...)
	request := `curl -sS -m 5 --no-keepalive --rate 50/s -H "Connection: close" "http://203.0.113.10:5000/?[1-%d]" -o /dev/null -w '%%{errormsg}\n' | sort | uniq -c`
	c.await("all three to be asked", func() error {
		if _, err := c.try("client", fmt.Sprintf(request, 60)); err != nil {
			return err
		}
		all, err := c.asked(names[0])
		for _, name := range names {
			if all[name] == 0 {
				err = errors.Join(err, fmt.Errorf("%s had none: %v", name, all))
			}
		}
		return err
	})

	t.Log("a drain: every request is answered")
	done := make(chan string)
	go func() {
		out, err := c.try("client", fmt.Sprintf(request, 600))
		done <- strings.Join(strings.Fields(fmt.Sprintf("%s %v", out, err)), " ")
	}()
	if out, err := c.try(names[1], "holdfast drain --reason kernel "+names[1]); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ways(names[0], names[2])
	if got := <-done; got != "600 <nil>" {
		t.Errorf("of 600 requests during a drain: %s", got)
	}
	if out, err := c.try(names[1], "holdfast undrain "+names[1]); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ways(names...)

	t.Log("a lost host: its route goes, and the others serve")
	c.fault("power-off", names[0])
	ways(names[1], names[2])
	if out, err := c.try("client", fmt.Sprintf(request, 60)); err != nil || strings.Join(strings.Fields(out), " ") != "60" {
		t.Errorf("of 60 requests without it: %s, %v", out, err)
	}
}
