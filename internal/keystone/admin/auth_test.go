package admin

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// request gives an AuthRequest for a machine with these variables and files.
func request(env, files map[string]string) AuthRequest {
	return AuthRequest{
		Dirs: []string{".", "/home/op/.config/openstack", "/etc/openstack"},
		Env:  func(name string) string { return env[name] },
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
		},
	}
}

const twoClouds = `
clouds:
  eqiad1:
    auth:
      auth_url: https://openstack.eqiad1.example.org:5000/v3
      username: admin
      user_domain_name: Default
      project_name: admin
      project-domain-id: default
      password: 12345678
    region_name: eqiad1-r
    cacert: /etc/ssl/eqiad1.pem
    verify: false
  codfw1:
    auth_type: v3applicationcredential
    auth:
      auth_url: http://ctl2001:5000
      application_credential_id: 0a1b
      application_credential_secret: wxyz-secret
  codfw2:
    profile: wmf
    auth: {username: op, system_scope: all}
`

// otherWays are clouds to which holdfast cannot authenticate by itself.
const otherWays = `
clouds:
  oidc:
    auth_type: v3oidcclientcredentials
    auth: {auth_url: 'http://a:5000', project_name: p, identity_provider: idp, protocol: openid, client_id: c, client_secret: hunter22, discovery_endpoint: 'https://idp/x'}
  sso:
    auth_type: v3websso
    auth: {auth_url: 'http://a:5000', project_name: p, identity_provider: idp, protocol: openid}
  mfa:
    auth_type: v3multifactor
    auth_methods: [v3password, v3totp]
    auth: {auth_url: 'http://a:5000', username: u, password: hunter22}
  totp:
    auth_type: v3totp
    auth: {auth_url: 'http://a:5000', username: u}
  totp-off:
    auth_type: v3password
    auth: {auth_url: 'http://a:5000', username: u, password: pw}
  plugin:
    auth_type: acme_badge
    auth: {auth_url: 'http://a:5000', username: u, password: hunter22}
  slip:
    auth_type: v3pasword
    auth: {auth_url: 'http://a:5000', username: u, password: hunter22}
`

func TestResolveAuth(t *testing.T) {
	etc := map[string]string{"/etc/openstack/clouds.yaml": twoClouds}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{"/etc/openstack/clouds.yaml": twoClouds}
		maps.Copy(all, more)
		return all
	}
	for _, tt := range []struct {
		name       string
		cloud      string
		env, files map[string]string
		want       string // Who, URL, CACert, Insecure, Region, secret
	}{
		{
			"a cloud by its flag", "eqiad1", nil, etc,
			"user admin of domain Default, for project admin|https://openstack.eqiad1.example.org:5000/v3|/etc/ssl/eqiad1.pem|true|eqiad1-r|12345678",
		},
		{
			"a cloud by OS_CLOUD, whatever else is set", "",
			map[string]string{"OS_CLOUD": "codfw1", "OS_AUTH_URL": "http://other:5000", "OS_USERNAME": "x"},
			etc,
			"application credential 0a1b|http://ctl2001:5000||false||wxyz-secret",
		},
		{"the variables", "", map[string]string{
			"OS_AUTH_URL": "http://ctl1:5000/v3", "OS_USERNAME": "admin", "OS_PASSWORD": "pw-of-admin", "OS_PROJECT_NAME": "admin",
			"OS_CACERT": "/ca.pem", "OS_REGION_NAME": "r1",
		}, etc, "user admin of domain default, for project admin|http://ctl1:5000/v3|/ca.pem|false|r1|pw-of-admin"},
		{"the variables of an old openrc", "", map[string]string{
			"OS_AUTH_URL": "http://ctl1:5000/v3", "OS_USER_ID": "u1", "OS_PASSWORD": "pw-of-admin", "OS_TENANT_ID": "p1", "OS_INSECURE": "true",
		}, nil, "user u1, for project p1|http://ctl1:5000/v3||true||pw-of-admin"},
		{
			"a token", "",
			map[string]string{"OS_AUTH_URL": "http://ctl1:5000/v3", "OS_TOKEN": "gAAAA", "OS_SYSTEM_SCOPE": "all"},
			nil,
			"the token given, for the system|http://ctl1:5000/v3||false||gAAAA",
		},
		{"an application credential of a name", "", map[string]string{
			"OS_AUTH_URL": "http://ctl1:5000/v3", "OS_AUTH_TYPE": "v3applicationcredential", "OS_USERNAME": "op",
			"OS_APPLICATION_CREDENTIAL_NAME": "ci", "OS_APPLICATION_CREDENTIAL_SECRET": "wxyz",
		}, nil, "application credential ci of user op|http://ctl1:5000/v3||false||wxyz"},
		{"secure.yaml", "codfw2", nil, with(map[string]string{
			"/etc/openstack/secure.yaml":        "clouds: {codfw2: {auth: {password: from-secure}}}",
			"/etc/openstack/clouds-public.yaml": "public-clouds: {wmf: {auth: {auth_url: 'http://public:5000'}, region_name: r9}}",
		}), "user op of domain default, for the system|http://public:5000||false|r9|from-secure"},
		{"a password that is kept in a variable", "codfw2", map[string]string{"OS_PASSWORD": "from-env", "OS_USERNAME": "not-this"}, with(map[string]string{
			"/etc/openstack/clouds-public.yaml": "public-clouds: {wmf: {auth: {auth_url: 'http://public:5000'}}}",
		}), "user op of domain default, for the system|http://public:5000||false||from-env"},
		{"the nearest clouds.yaml", "c", nil, with(map[string]string{
			"clouds.yaml": "clouds: {c: {auth: {auth_url: 'http://here:5000', username: u, password: near}}}",
		}), "user u of domain default|http://here:5000||false||near"},
		{"the only cloud there is", "", nil, map[string]string{
			"/home/op/.config/openstack/clouds.yml": "clouds: {only: {auth: {auth_url: 'http://only:5000', username: u, password: only-pw}}}",
		}, "user u of domain default|http://only:5000||false||only-pw"},
		{"OS_CLIENT_CONFIG_FILE", "c", map[string]string{"OS_CLIENT_CONFIG_FILE": "/srv/my.yaml"}, with(map[string]string{
			"/srv/my.yaml":     "clouds: {c: {auth: {auth_url: 'http://srv:5000', username: u}}}",
			"/srv/secure.yaml": "clouds: {c: {auth: {password: 'srv-pw'}}}",
		}), "user u of domain default|http://srv:5000||false||srv-pw"},
		{"OpenID Connect, with a token", "oidc", map[string]string{"OS_TOKEN": "gAAAA-token"}, map[string]string{"clouds.yaml": otherWays}, "the token given, for project p|http://a:5000||false||gAAAA-token"},
		{"websso, with a token", "sso", map[string]string{"OS_TOKEN": "gAAAA-token"}, map[string]string{"clouds.yaml": otherWays}, "the token given, for project p|http://a:5000||false||gAAAA-token"},
		{"TOTP, with a token, and the password", "totp", map[string]string{"OS_TOKEN": "gAAAA-token", "OS_PASSWORD": "pw"}, map[string]string{"clouds.yaml": otherWays}, "the token given|http://a:5000||false||pwgAAAA-token"},
		{"a plugin's, with a token", "plugin", map[string]string{"OS_TOKEN": "gAAAA-token"}, map[string]string{"clouds.yaml": otherWays}, "the token given|http://a:5000||false||hunter22gAAAA-token"},
		{"the variables, OpenID Connect, with a token", "", map[string]string{
			"OS_AUTH_URL": "http://a:5000", "OS_AUTH_TYPE": "v3oidcdeviceauthz", "OS_TOKEN": "gAAAA-token", "OS_PROJECT_ID": "p1",
		}, nil, "the token given, for project p1|http://a:5000||false||gAAAA-token"},
		{"a password, whatever token there is", "totp-off", map[string]string{"OS_TOKEN": "gAAAA-token"}, map[string]string{"clouds.yaml": otherWays}, "user u of domain default|http://a:5000||false||pwgAAAA-token"},
		{"anchors and merge keys", "b", nil, map[string]string{
			"clouds.yaml": "clouds:\n  a: &a {auth: &auth {auth_url: 'http://a:5000', username: u, password: pw-a}}\n  b: {auth: {<<: *auth, username: v}}\n",
		}, "user v of domain default|http://a:5000||false||pw-a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := request(tt.env, tt.files)
			req.Cloud = tt.cloud
			a, err := ResolveAuth(req)
			if err != nil {
				t.Fatal(err)
			}
			secret := a.Password.text + a.Token.text + a.CredentialSecret.text
			got := strings.Join([]string{a.Who(), a.URL, a.CACert, fmt.Sprint(a.Insecure), a.Region, secret}, "|")
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestResolveAuthSaysWhatIsWrong(t *testing.T) {
	etc := map[string]string{"/etc/openstack/clouds.yaml": twoClouds}
	file := func(text string) map[string]string { return map[string]string{"/etc/openstack/clouds.yaml": text} }
	for _, tt := range []struct {
		name       string
		cloud      string
		env, files map[string]string
		want       []string
	}{
		{"nothing at all", "", nil, nil, []string{"OS_AUTH_URL and OS_CLOUD are not set", "/home/op/.config/openstack", "source an openrc file"}},
		{"no clouds.yaml", "eqiad1", nil, nil, []string{`no clouds.yaml found for cloud "eqiad1"`, "., /home/op/.config/openstack, /etc/openstack", "OS_CLIENT_CONFIG_FILE"}},
		{"OS_CLIENT_CONFIG_FILE names nothing", "x", map[string]string{"OS_CLIENT_CONFIG_FILE": "/nowhere.yaml"}, etc, []string{"OS_CLIENT_CONFIG_FILE", "/nowhere.yaml"}},
		{"no such cloud", "eqiad2", nil, etc, []string{`no cloud "eqiad2" in /etc/openstack/clouds.yaml`, "codfw1, codfw2, eqiad1", `did you mean "eqiad1"?`}},
		{"which cloud", "", nil, etc, []string{"--os-cloud", "codfw1, codfw2, eqiad1"}},
		{"no password", "", map[string]string{"OS_AUTH_URL": "http://a:5000", "OS_USERNAME": "u"}, nil, []string{"the OS_* variables", "missing: password (OS_PASSWORD)"}},
		{"no user and no URL", "c", nil, file("clouds: {c: {auth: {password: hunter22}}}"), []string{"cloud c of /etc/openstack/clouds.yaml", "auth_url (OS_AUTH_URL), username"}},
		{"no secret", "", map[string]string{"OS_AUTH_URL": "http://a:5000", "OS_APPLICATION_CREDENTIAL_NAME": "n"}, nil, []string{"application_credential_secret", "with a user"}},
		{"another method", "", map[string]string{"OS_AUTH_URL": "http://a:5000", "OS_AUTH_TYPE": "v3oidcpassword"}, nil, []string{`auth_type "v3oidcpassword" asks an OpenID Connect provider`, "use password", "OS_TOKEN=$(openstack token issue -f value -c id)"}},
		{"OpenID Connect", "oidc", nil, file(otherWays), []string{"cloud oidc of", `auth_type "v3oidcclientcredentials" asks an OpenID Connect provider`, "export OS_TOKEN=$(openstack --os-cloud oidc token issue -f value -c id)"}},
		{"websso", "sso", nil, file(otherWays), []string{`auth_type "v3websso" asks in a browser`, "openstack --os-cloud sso token issue"}},
		{"more than one factor", "mfa", nil, file(otherWays), []string{`auth_type "v3multifactor"`, "passcode", "openstack --os-cloud mfa token issue"}},
		{"TOTP", "", map[string]string{"OS_CLOUD": "totp", "OS_PASSWORD": "hunter22"}, file(otherWays), []string{`auth_type "v3totp" asks for a passcode`, "openstack token issue"}},
		{"a plugin's", "plugin", nil, file(otherWays), []string{`auth_type "acme_badge" is of a plugin`, "OS_TOKEN"}},
		{"a slip", "slip", nil, file(otherWays), []string{`auth_type "v3pasword" is not known; did you mean "v3password"?`}},
		{"a URL with a password", "", map[string]string{"OS_AUTH_URL": "http://u:hunter22@a:5000", "OS_USERNAME": "u", "OS_PASSWORD": "hunter22"}, nil, []string{"auth_url is no plain URL"}},
		{"a URL without a scheme", "", map[string]string{"OS_AUTH_URL": "a:5000", "OS_USERNAME": "u", "OS_PASSWORD": "hunter22"}, nil, []string{"http://"}},
		{"a scope that is none", "", map[string]string{"OS_AUTH_URL": "http://a:5000", "OS_SYSTEM_SCOPE": "some"}, nil, []string{"system_scope"}},
		{"a profile that is nowhere", "codfw2", nil, etc, []string{`profile "wmf"`, "clouds-public.yaml"}},
		{"bad YAML", "c", nil, file("clouds:\n  c:\n    auth: {password: *hunter22}\n"), []string{"clouds.yaml:3: it is no valid YAML", "single quotes"}},
		{"bad YAML of another kind", "c", nil, file("clouds:\n  c: {auth: {password: %hunter22}}\n"), []string{"clouds.yaml:2: it is no valid YAML"}},
		{"no clouds in it", "c", nil, file("hunter22"), []string{`no mapping "clouds"`}},
		{"a cloud that is none", "c", nil, file("clouds:\n  c: hunter22\n"), []string{`clouds.yaml:2: the cloud "c" is no mapping`}},
		{"empty", "c", nil, file("# nothing yet\n"), []string{"which has none at all"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := request(tt.env, tt.files)
			req.Cloud = tt.cloud
			_, err := ResolveAuth(req)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "\n") {
				t.Errorf("a secret, or more than a line: %q", err)
			}
		})
	}
}

func TestSecretIsHidden(t *testing.T) {
	s := NewSecret("hunter22")
	text, err := json.Marshal(struct{ S Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("a", "secret", s)
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), string(text), log.String(), fmt.Sprintf("%+v", &struct{ S *Secret }{&s})} {
		if strings.Contains(got, "hunter22") || strings.Contains(got, "68756e74") {
			t.Errorf("it shows: %s", got)
		}
	}
	if NewSecret("").String() != "" {
		t.Error("no secret is shown as one")
	}
}

func TestIdentityURL(t *testing.T) {
	for in, want := range map[string]string{
		"http://a:5000":              "http://a:5000/v3/",
		"http://a:5000/":             "http://a:5000/v3/",
		"http://a:5000/v3":           "http://a:5000/v3/",
		"http://a:5000/v3/":          "http://a:5000/v3/",
		"http://a:5000/v2.0":         "http://a:5000/v3/",
		"https://a/identity":         "https://a/identity/v3/",
		"https://a/identity/v3":      "https://a/identity/v3/",
		"http://[2001:db8::1]:35357": "http://[2001:db8::1]:35357/v3/",
	} {
		if got := identityURL(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestOptions compares what is sent to Keystone with what it takes.
func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		auth Auth
		want string
	}{
		{
			Auth{Method: ByPassword, User: "u", UserDomain: "D", Project: "p", ProjectDomainID: "default", Password: NewSecret("x")},
			`{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"D"},"name":"u","password":"x"}}},"scope":{"project":{"domain":{"id":"default"},"name":"p"}}}}`,
		},
		{
			Auth{Method: ByPassword, UserID: "u1", UserDomainID: "default", ProjectID: "p1", Password: NewSecret("x")},
			`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"u1","password":"x"}}},"scope":{"project":{"id":"p1"}}}}`,
		},
		{
			Auth{Method: ByPassword, UserID: "u1", System: true, Password: NewSecret("x")},
			`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"u1","password":"x"}}},"scope":{"system":{"all":true}}}}`,
		},
		{
			Auth{Method: ByPassword, UserID: "u1", Domain: "D", Password: NewSecret("x")},
			`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"u1","password":"x"}}},"scope":{"domain":{"name":"D"}}}}`,
		},
		{
			Auth{Method: ByToken, Token: NewSecret("t"), Project: "p", ProjectDomain: "D", User: "u", UserDomainID: "default"},
			`{"auth":{"identity":{"methods":["token"],"token":{"id":"t"}},"scope":{"project":{"domain":{"name":"D"},"name":"p"}}}}`,
		},
		{
			Auth{Method: ByApplicationCredential, CredentialID: "c1", CredentialSecret: NewSecret("s"), Project: "p", ProjectDomain: "D"},
			`{"auth":{"identity":{"application_credential":{"id":"c1","secret":"s"},"methods":["application_credential"]}}}`,
		},
		{
			Auth{Method: ByApplicationCredential, Credential: "c", User: "u", UserDomainID: "default", CredentialSecret: NewSecret("s")},
			`{"auth":{"identity":{"application_credential":{"name":"c","secret":"s","user":{"domain":{"id":"default"},"name":"u"}},"methods":["application_credential"]}}}`,
		},
	} {
		o := tt.auth.options()
		scope, err := o.ToTokenV3ScopeMap()
		if err != nil {
			t.Errorf("%s: %v", tt.auth.Who(), err)
			continue
		}
		body, err := o.ToTokenV3CreateMap(scope)
		if err != nil {
			t.Errorf("%s: %v", tt.auth.Who(), err)
			continue
		}
		got, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("%s: %s", tt.auth.Who(), diff)
		}
	}
}

func FuzzClouds(f *testing.F) {
	f.Add(twoClouds)
	f.Add("clouds:\n  a: &a {auth: &auth {auth_url: 'http://a:5000'}}\n  b: {<<: *a, auth: *auth}\n")
	f.Add("clouds: &a\n  <<: *a\n  b: &b {<<: *b}\n")
	f.Add("clouds: {c: {auth: {password: *hunter22}}}")
	f.Fuzz(func(t *testing.T, text string) {
		files := map[string]string{"/etc/openstack/clouds.yaml": text}
		req := request(nil, files)
		req.Cloud = "c"
		a, err := ResolveAuth(req)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		if a.URL == "" || a.Method == "" {
			t.Errorf("half an answer: %+v", a)
		}
	})
}
