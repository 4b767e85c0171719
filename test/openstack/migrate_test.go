package openstack_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOpenStack is all of it, in one lab: it takes a while to build.
func TestOpenStack(t *testing.T) {
	c := newCloud(t)
	t.Run("migrate", func(t *testing.T) { migrate(t, c.in(t)) })
	t.Run("killed at every step", func(t *testing.T) { killedAtEveryStep(t, c.in(t)) })
}

// in gives c for a subtest.
func (c *cloud) in(t *testing.T) *cloud {
	sub := *c
	sub.t = t
	return &sub
}

// migrate is the story of docs/runbooks/migrate.md.
func migrate(t *testing.T, c *cloud) {
	before := c.endpoints()
	for _, e := range before {
		if strings.Contains(e.URL, vipName) {
			t.Fatalf("the catalog names the VIP already: %+v", e)
		}
	}
	image := c.upload("lab", "before")
	c.useEveryGlance() // so that each keeps the catalog of now
	stateDir := filepath.Join(c.dir, "state")

	// The spec that import makes of the live Keystone plans what the lab's own does.
	imported := c.file("imported.yaml", c.holdfast("import", "--os-cloud", "lab", "--vip", "10.64.20.10/24", "--hostname", vipName,
		"--interface", "eno1", "--controller", first+"=10.64.20.13", "--controller", "cloudcontrol1004=10.64.20.14",
		"--controller", "cloudcontrol1005=10.64.20.15", "--host", "designate:cloudservices1003=10.64.20.23",
		"--host", "designate:cloudservices1004=10.64.20.24", "--host", "proxy:proxy1=10.64.20.33", "--host", "proxy:proxy2=10.64.20.34"))
	plan := c.plan(imported)
	if diff := cmp.Diff(c.plan(c.spec).urls(), plan.urls()); diff != "" || len(plan.Changes) != len(before) {
		t.Fatalf("%d changes, want %d; -by the lab's spec +by the imported one:\n%s", len(plan.Changes), len(before), diff)
	}
	c.holdfast("endpoints", "apply", "--plan", plan.Plan, "--yes", "-f", imported, "--state-dir", stateDir)
	if again := c.plan(c.spec); len(again.Changes) > 0 {
		t.Errorf("there is still to change: %+v", again.Changes)
	}

	// Everything works through the name.
	c.checkThroughName(before)
	c.compare(image, "before")
	c.compare(c.upload("vip", "through"), "through")

	// Services keep the catalog that came with their own token. What apply says is
	// done: they are restarted, one controller after the other, and nobody notices.
	for _, controller := range controllers() {
		c.lab("fault", "service-restart", controller, "glance")
		c.awaitGlance(controller)
	}
	c.useEveryGlance()

	// The controller that everything pointed at loses its power: nobody does anything.
	c.lab("fault", "power-off", first)
	c.checkThroughName(before)
	c.compare(image, "before")
	c.compare(c.upload("vip", "after"), "after")
	c.useEveryGlance(first)

	// The way back, with the Keystone that OS_CLOUD names being the dead one: the
	// journal knows another.
	out, said, code := c.try(c.bin, "endpoints", "rollback", "--yes", "--state-dir", stateDir)
	if code != 0 || !strings.Contains(said, "which the journal has") || !strings.Contains(out, "6 changes taken back") {
		t.Fatalf("rollback ended with exit code %d:\n%s%s", code, out, said)
	}
	c.lab("fault", "back", first)
	c.await("http://" + first + ":5000/v3")
	c.awaitGlance(first)
	if diff := cmp.Diff(before, c.endpoints()); diff != "" {
		t.Errorf("openstack endpoint list, -first +after rollback:\n%s", diff)
	}
	c.compare(image, "before")
}

// planned is what "holdfast endpoints plan -o json" says, as far as it matters here.
type planned struct {
	Plan    string `json:"plan"`
	Changes []struct {
		After struct {
			ID  string `json:"id"`
			URL string `json:"url"`
		} `json:"after"`
	} `json:"changes"`
}

// urls gives what the endpoints are to be, by their ids.
func (p planned) urls() map[string]string {
	urls := map[string]string{}
	for _, c := range p.Changes {
		urls[c.After.ID] = c.After.URL
	}
	return urls
}

func (c *cloud) plan(spec string) planned {
	c.t.Helper()
	var p planned
	text := c.holdfast("endpoints", "plan", "-o", "json", "-f", spec)
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		c.t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// checkThroughName looks at the cloud as a client does that knows the name of
// the VIP and nothing else.
func (c *cloud) checkThroughName(before []endpoint) {
	c.t.Helper()
	text := c.client("openstack", "--os-cloud", "vip", "token", "issue", "-f", "json")
	var issued map[string]any
	if err := json.Unmarshal([]byte(text), &issued); err != nil || issued["id"] == "" {
		c.t.Errorf("token issue: %v %s", err, text)
	}
	now := parseEndpoints(c.t, []byte(c.client("openstack", "--os-cloud", "vip", "endpoint", "list", "-f", "json")))
	if len(now) != len(before) {
		c.t.Fatalf("%d endpoints, before %d", len(now), len(before))
	}
	for i, e := range now {
		was := before[i]
		wasPath := was.URL[strings.LastIndexByte(was.URL, ':'):]
		if want := "http://" + vipName + wasPath; e.URL != want || e.ID != was.ID || !e.Enabled {
			c.t.Errorf("%+v, want the URL %s", e, want)
		}
	}
	catalog := c.client("openstack", "--os-cloud", "vip", "catalog", "list", "-f", "json")
	if strings.Count(catalog, vipName) != len(before) || strings.Contains(catalog, first) {
		c.t.Errorf("catalog list: %s", catalog)
	}
}

// await waits until url answers.
func (c *cloud) await(url string) {
	c.t.Helper()
	c.client("curl", "-s", "-o", "/dev/null", "--retry", "180", "--retry-delay", "1", "--retry-all-errors", "--max-time", "10", url)
}

func (c *cloud) awaitGlance(controller string) {
	c.t.Helper()
	c.await("http://" + controller + ":9292/")
}

// useEveryGlance asks the Glance of every controller but those named for
// something that takes a valid token.
func (c *cloud) useEveryGlance(but ...string) {
	c.t.Helper()
	token := strings.TrimSpace(c.client("openstack", "--os-cloud", "vip", "token", "issue", "-f", "value", "-c", "id"))
	for _, controller := range controllers() {
		if slices.Contains(but, controller) {
			continue
		}
		code := c.client("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60", "-H", "X-Auth-Token: "+token, "http://"+controller+":9292/v2/images")
		if code != "200" {
			c.t.Errorf("Glance on %s answers %s", controller, code)
		}
	}
}

// upload makes an image of random bytes as a client of the cloud called of in
// clouds.yaml, at the URL that the catalog has, and gives its id.
func (c *cloud) upload(of, name string) string {
	c.t.Helper()
	data := make([]byte, 4<<20)
	random := rand.NewChaCha8([32]byte{1, 2, 3, byte(len(name))})
	if _, err := random.Read(data); err != nil {
		c.t.Fatal(err)
	}
	file := c.file(name+".raw", string(data))
	id := c.client("openstack", "--os-cloud", of, "image", "create", "-f", "value", "-c", "id",
		"--disk-format", "raw", "--container-format", "bare", "--file", file, name)
	return strings.TrimSpace(id)
}

// compare downloads an image and compares it with what was uploaded.
func (c *cloud) compare(id, name string) {
	c.t.Helper()
	got := filepath.Join(c.dir, name+".back")
	c.client("openstack", "--os-cloud", "vip", "image", "save", "--file", got, id)
	want, err := os.ReadFile(filepath.Join(c.dir, name+".raw"))
	if err != nil {
		c.t.Fatal(err)
	}
	data, err := os.ReadFile(got)
	if err != nil || !bytes.Equal(want, data) {
		c.t.Errorf("image %s: %d bytes came back of %d, or others: %v", name, len(data), len(want), err)
	}
}
