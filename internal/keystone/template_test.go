package keystone

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// formatURL asks Keystone's own format_url for each URL of its input: what it
// puts into a token of project "p" and user "u", or null for what it leaves out.
const formatURL = `
import json, sys
try:
    import keystone.conf
    from keystone import exception
    from keystone.common import utils
except ImportError:
    sys.exit(77)
keystone.conf.configure()
utils.LOG.error = lambda *a: None
def one(url):
    try:
        return utils.format_url(url, {'tenant_id': 'p', 'project_id': 'p', 'user_id': 'u'})
    except exception.MalformedEndpoint:
        return None
print(json.dumps([one(url) for url in json.load(sys.stdin)]))
`

// TestFillAsKeystoneDoes compares with the Keystone that is installed here.
func TestFillAsKeystoneDoes(t *testing.T) {
	urls := []string{
		"http://a:1", "http://a:1/v3/$(tenant_id)s", "http://a:1/v3/%(project_id)s/%(user_id)s", "http://a:1/AUTH_%(tenant_id)s",
		"http://a:1/$(tenant_idx)s", "http://a:1/%(other)s", "http://a:1/100%", "http://a:1/%20x", "http://a:1/a%20b", "http://a:1/%2Fc",
		"http://a:1/100%%", "http://a:1/a%%20b/$(tenant_id)s", "http://a:1/%%(tenant_id)s", "http://a:1/%$(tenant_id)s", "http://a:1/%%%(tenant_id)s",
		"http://a:1/%(tenant_id)", "http://a:1/%(tenant_id", "http://a:1/$(tenant_id)d", "http://a:1/$(tenant_id)x", "http://a:1/$tenant_id",
		"http://a:1/%(tenant_id)sx", "http://a:1/%()s", "http://a:1/%5%", "http://a:1/%d", "http://a:1/%(tenant_id)S", "http://a:1/%E4", "http://a:1/%*s",
	}
	in, err := json.Marshal(urls)
	if err != nil {
		t.Fatal(err)
	}
	const python = "/usr/bin/python3" // Debian's, which sees Debian's Keystone
	if _, err := exec.LookPath(python); err != nil {
		t.Skip(python + " is not installed")
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", formatURL)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() == 77 {
		t.Skip("Keystone is not installed: test/openstack/deps.sh")
	}
	var want []*string
	if err != nil || json.Unmarshal(out, &want) != nil || len(want) != len(urls) {
		t.Fatalf("format_url: %v: %s", err, out)
	}
	for i, url := range urls {
		got, known := knownFill(url, "p", "u")
		switch fault := Fault(url); {
		case want[i] == nil && fault == "":
			t.Errorf("%s: Keystone leaves it out, and there is no fault in it: %q", url, got)
		case want[i] != nil && fault != "":
			t.Errorf("%s: Keystone gives %s; %s", url, *want[i], fault)
		case want[i] != nil && (!known || got != *want[i]):
			t.Errorf("%s: got %q, %v, want %q", url, got, known, *want[i])
		}
	}
}

// knownFill gives url as Keystone puts it into the catalog of a token of project and
// user. The second result is false when something in it is not known here, or
// Keystone leaves the endpoint out.
func knownFill(url, project, user string) (string, bool) {
	f := Fill(url, project, user)
	return f.URL, !f.Partly && !f.Project && f.Fault == ""
}
