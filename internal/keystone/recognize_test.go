package keystone

import (
	"strings"
	"testing"
)

// Answers as real services were seen to give them.
const (
	keystoneRoot = `{"versions": {"values": [{"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": [{"rel": "self", "href": "http://127.0.0.11:5000/v3/"}], "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}]}]}}`
	keystoneV3   = `{"version": {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": [{"rel": "self", "href": "http://127.0.0.11:5000/v3/"}], "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}]}}`
	glanceRoot   = `{"versions": [{"id": "v2.15", "status": "CURRENT", "links": [{"rel": "self", "href": "http://127.0.0.11:9292/v2/"}]}, {"id": "v2.9", "status": "SUPPORTED", "links": [{"rel": "self", "href": "http://127.0.0.11:9292/v2/"}]}]}`
	novaRoot     = `{"versions": [{"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z", "links": [{"rel": "self", "href": "http://127.0.0.11:8774/v2/"}]}, {"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1", "updated": "2013-07-23T11:33:21Z", "links": [{"rel": "self", "href": "http://127.0.0.11:8774/v2.1/"}]}]}`
	neutronRoot  = `{"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": "http://127.0.0.11:9696/v2.0/"}]}]}`
	placeRoot    = `{"versions": [{"id": "v1.0", "max_version": "1.39", "min_version": "1.0", "status": "CURRENT", "links": [{"rel": "self", "href": ""}]}]}`
	dnsRoot      = `{"versions": {"values": [{"id": "v2", "status": "CURRENT", "links": [{"href": "http://127.0.0.11:9001/v2", "rel": "self"}]}]}}`
	cinderRoot   = `{"versions": [{"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0", "updated": "2022-08-31T00:00:00Z", "links": [{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"}, {"rel": "self", "href": "http://127.0.0.11:8776/v3/"}], "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}]}]}`
)

func TestRecognize(t *testing.T) {
	for _, tt := range []struct{ name, body, text, typ string }{
		{"keystone", keystoneRoot, "Identity API v3.14", "identity"},
		{"keystone v3", keystoneV3, "Identity API v3.14", "identity"},
		{"glance", glanceRoot, "Image API v2.15", "image"},
		{"nova", novaRoot, "Compute API v2.1", "compute"},
		{"neutron", neutronRoot, "Networking API v2.0", "network"},
		{"cinder", cinderRoot, "Block Storage API v3.0", "volumev3"},
		{"placement", placeRoot, "Placement API v1.0", "placement"},
		{"designate", dnsRoot, "an API with v2", ""},
		{"a page", "<html>It works!</html>", "no version document", ""},
		{"nothing", "", "no version document", ""},
		{"other JSON", `{"versions": "none", "version": 3}`, "no version document", ""},
		{"null", `{"versions": [null], "version": null}`, "no version document", ""},
	} {
		got := Recognize(Answer{Code: 200, Body: []byte(tt.body)})
		if got.Text != tt.text || tt.typ == "" != (got.Types == nil) || tt.typ != "" && !strings.Contains(strings.Join(got.Types, " "), tt.typ) {
			t.Errorf("%s: got %+v, want %q of type %q", tt.name, got, tt.text, tt.typ)
		}
	}
}

func TestOwnAPI(t *testing.T) {
	read := func(body string) Recognized { return Recognize(Answer{Code: 200, Body: []byte(body)}) }
	at := func(body string) *Recognized { r := read(body); return &r }
	for _, tt := range []struct {
		name   string
		types  []string
		got    string
		before *Recognized
		ok     bool
	}{
		{"image is image", []string{"image"}, glanceRoot, nil, true},
		{"network is not image", []string{"image"}, neutronRoot, nil, false},
		{"a page is not image", []string{"image"}, "<html>", nil, false},
		{"a page is not image, whatever was there", []string{"image"}, "<html>", at("<html>"), false},
		{"image is not dns", []string{"dns"}, glanceRoot, nil, false},
		{"dns as before", []string{"dns"}, dnsRoot, at(dnsRoot), true},
		{"dns, and nothing to compare", []string{"dns"}, dnsRoot, nil, true},
		{"another version of something", []string{"dns"}, strings.ReplaceAll(dnsRoot, "v2", "v1"), at(dnsRoot), false},
		{"a page where dns was", []string{"dns"}, "<html>", at(dnsRoot), false},
		{"a page as before", []string{"proxy"}, "<html>", at("<p>"), true},
		{"keystone in place of proxy", []string{"proxy"}, keystoneV3, nil, false},
	} {
		if ok, why := OwnAPI(tt.types, read(tt.got), tt.before); ok != tt.ok || ok == (why != "") {
			t.Errorf("%s: got %v, %q", tt.name, ok, why)
		}
	}
}

func TestStrayLink(t *testing.T) {
	a := Answer{Body: []byte(glanceRoot)}
	for origin, want := range map[string]string{
		"http://127.0.0.11:9292/v2":  "",
		"https://127.0.0.11:9292/v2": "http://127.0.0.11:9292/v2/",
		"http://name:9292":           "http://127.0.0.11:9292/v2/",
	} {
		if got := a.StrayLink(origin); got != want {
			t.Errorf("at %s: got %q, want %q", origin, got, want)
		}
	}
	if got := (Answer{Body: []byte(placeRoot)}).StrayLink("http://a:8778"); got != "" {
		t.Errorf("an empty link is none: %q", got)
	}
}

func FuzzRecognize(f *testing.F) {
	for _, body := range []string{keystoneRoot, keystoneV3, glanceRoot, novaRoot, placeRoot, dnsRoot, cinderRoot, `{"versions":[{"id":"v"}]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := Answer{Code: 200, Body: body}
		if r := Recognize(a); r.Text == "" || r.Types != nil && !r.Document {
			t.Errorf("%+v", r)
		}
		a.StrayLink("http://a:1")
	})
}
