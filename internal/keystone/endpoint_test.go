package keystone

import (
	"fmt"
	"testing"
)

func TestLocate(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"http://ctl1:9292", "http ctl1 9292 path="},
		{"HTTPS://Ctl1.Example.ORG./v3", "https ctl1.example.org 443 implicit path=/v3"},
		{"http://10.0.0.1/", "http 10.0.0.1 80 implicit path=/"},
		{"http://[2001:DB8::1]:5000/v3", "http 2001:db8::1 5000 path=/v3"},
		{"http://[2001:db8::1]", "http 2001:db8::1 80 implicit path="},
		{"http://ctl1:8776/v3/%(project_id)s", "http ctl1 8776 path=/v3/%(project_id)s"},
		{"http://proxy:5668/x/v1/$(tenant_id)s", "http proxy 5668 path=/x/v1/$(tenant_id)s"},
		{"http://$(public_bind_host)s:$(public_port)s/v2.0", "http  0 path=/v2.0"},
		{"http://%(host)s:8774/v2.1", "http  8774 path=/v2.1"},
		{"http://admin:secret@ctl1:80/x", "http ctl1 80 path=/x dropped=the user and password"},
		{"http://ctl1/x?y=z", "http ctl1 80 implicit path=/x dropped=what follows ?"},
		{"http://ctl1:0", `"0" is no port`},
		{"http://ctl1:65536", `"65536" is no port`},
		{"http://ctl1:x", `"x" is no port`},
		{"http://", "the URL has no host"},
		{"http://:80", "the URL has no host"},
		{"http://2001:db8::1:5000", `"2001:db8::1:5000" is no host; an IPv6 address stands in brackets`},
		{"http://[::zz]:1", `"[::zz]" is no IPv6 address`},
		{"ctl1:9292", `"ctl1:9292" is no URL; it has no http:// or https://`},
		{"rbd://pool", `the scheme "rbd" is neither http nor https`},
		{"http://a b/", `"http://a b/" has white space in it`},
	} {
		l, err := Locate(test.url)
		got := fmt.Sprintf("%s %s %d", l.Scheme, l.Host, l.Port)
		if l.Implicit {
			got += " implicit"
		}
		got += " path=" + l.Path
		if l.Dropped != "" {
			got += " dropped=" + l.Dropped
		}
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %s, want %s", test.url, got, test.want)
		}
	}
}
