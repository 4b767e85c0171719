package openstack

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/spec"
)

const twoServices = `
cloud: lab
region: r1
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: openstack.lab.example.org
    interface: eno1
    vrrp: {router_id: 51}
    tls: {certificate: /etc/holdfast/tls/api.pem}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
  glance: {}
  proxy: {type: proxy, port: 5668, path: "/v1/$(tenant_id)s", check: {path: /, expect: "200"}}
  mariadb: {}
`

func parse(t *testing.T) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("spec", []byte(twoServices))
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

func TestCheck(t *testing.T) {
	s := parse(t)
	for names, want := range map[string]string{
		"keystone nova":   `no real "nova" here; there are keystone, glance`,
		"glance":          "need a real keystone",
		"keystone glanze": `no real "glanze"`,
	} {
		if err := Check(strings.Fields(names), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", names, err, want)
		}
	}
	s.Services = s.Services[1:]
	if err := Check([]string{"keystone"}, s); err == nil || !strings.Contains(err.Error(), `the spec has no service "keystone"`) {
		t.Errorf("got %v", err)
	}
}

// TestCatalogSQL is a cloud whose every endpoint names one host.
func TestCatalogSQL(t *testing.T) {
	sql := catalogSQL(parse(t))
	for _, want := range []string{
		`'identity', 1, '{"name": "keystone"}'`, `'http://ctl1:5000/v3'`, `'http://ctl1:9292'`, `'http://ctl1:5668/v1/$(tenant_id)s'`, `'r1'`,
	} {
		if !strings.Contains(sql, want) {
			t.Errorf("%s is not in\n%s", want, sql)
		}
	}
	if strings.Contains(sql, "3306") || strings.Count(sql, "insert into endpoint") != 3 {
		t.Errorf("what is no API is in\n%s", sql)
	}
	if got := quote(`it's \n`); got != `'it\'s \\n'` {
		t.Errorf("quoted: %s", got)
	}
}

func TestCommand(t *testing.T) {
	c := &Cloud{opt: Options{Dir: t.TempDir(), Spec: parse(t), Services: []string{"keystone"}}}
	keystone := c.opt.Spec.Services[0]
	keystone.Hosts[1].Address = netip.MustParseAddr("2001:db8::14")
	args, env, ok, err := c.Command(keystone, keystone.Hosts[1], "/fail")
	if err != nil || !ok || !strings.Contains(strings.Join(args, " "), "--http-socket [2001:db8::14]:5000") || len(env) == 0 {
		t.Errorf("%v, %v, %v, %v", args, env, ok, err)
	}
	conf, err := os.ReadFile(filepath.Join(c.opt.Dir, "keystone-ctl2", "keystone.conf"))
	for _, want := range []string{
		"disable_by_file_path = /fail\n",
		// Left out, it is that of /etc/keystone, which no machine has to have.
		"[fernet_receipts]\nkey_repository = " + c.path(fernetKeys) + "\n",
	} {
		if err != nil || !strings.Contains(string(conf), want) {
			t.Errorf("%q is not in\n%s, %v", want, conf, err)
		}
	}
	if _, _, ok, err := c.Command(c.opt.Spec.Services[1], keystone.Hosts[0], ""); ok || err != nil {
		t.Errorf("glance was not asked for: %v, %v", ok, err)
	}
	var none *Cloud
	if _, _, ok, err := none.Command(keystone, keystone.Hosts[0], ""); ok || err != nil || none.Env() != nil || none.Close() != nil {
		t.Error("no cloud at all has something")
	}
}

func TestClouds(t *testing.T) {
	c := &Cloud{opt: Options{Spec: parse(t)}}
	text := c.clouds()
	for _, want := range []string{"  lab:\n    auth:\n      auth_url: http://ctl1:5000/v3\n", "  vip:\n    auth:\n      auth_url: https://openstack.lab.example.org:5000/v3\n", "region_name: r1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
