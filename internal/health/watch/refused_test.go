package watch

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

func TestRefusedRequestsAreFindings(t *testing.T) {
	now := time.Now()
	var r refusals
	want := func(what string, headers, refused []string) {
		t.Helper()
		all := r.findings(&spec.Spec{HeaderLimit: 64 << 10})
		for code, words := range map[string][]string{status.CodeHeadersTooLarge: headers, status.CodeRequestsRefused: refused} {
			f := all[code]
			if (f == nil) != (words == nil) {
				t.Errorf("%s: %s: %v", what, code, f)
				continue
			}
			for _, w := range words {
				if !strings.Contains(f.String(), w) {
					t.Errorf("%s: %q is not in %q", what, w, f)
				}
			}
		}
	}
	want("nothing", nil, nil)
	r.add(now, []haproxy.Refusal{{Service: "nova", Cause: haproxy.Incomplete, N: 3}})
	want("what is always there", nil, nil)
	r.add(now, []haproxy.Refusal{{Service: "keystone", Cause: haproxy.TooLarge, N: 2}, {Service: "horizon", Cause: haproxy.NoStream, N: 5}})
	now = now.Add(time.Minute)
	r.add(now, []haproxy.Refusal{{Service: "glance", Cause: haproxy.TooLarge, N: 1}, {Service: "keystone", Cause: haproxy.TooLarge, N: 8}})
	want("headers", []string{"11 with too large headers (glance 1, keystone 10)", "5 by HTTP/2", "headers may have 64 KiB", "header_limit"}, nil)
	now = now.Add(refusedFor - time.Second)
	r.add(now, []haproxy.Refusal{{Service: "nova", Cause: haproxy.TLSInPlain, N: 7}})
	want("later", []string{"9 with too large headers (glance 1, keystone 8)"}, []string{"7 that spoke TLS to a port without (nova 7)"})
	if all := r.findings(&spec.Spec{}); all[status.CodeHeadersTooLarge].Severity != status.Warning || all[status.CodeRequestsRefused].Severity != status.Info {
		t.Error("only what can be helped here is a warning")
	}
	r.add(now.Add(2*refusedFor), nil)
	want("long after", nil, nil)
}
