package admin

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/keystone"
)

// A Secret is never printed: whatever is asked for its text gets "(hidden)".
type Secret struct{ text string }

// NewSecret makes text a Secret.
func NewSecret(text string) Secret { return Secret{text} }

// String gives "(hidden)", or nothing when there is no secret.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "(hidden)"
}

// GoString is String: for %#v.
func (s Secret) GoString() string { return s.String() }

// Format is String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText is String: for JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// An AuthMethod is a way to authenticate to the Identity API v3.
type AuthMethod string

// The methods.
const (
	ByPassword              AuthMethod = "password"
	ByToken                 AuthMethod = "token"
	ByApplicationCredential AuthMethod = "application credential"
)

// An Auth is where Keystone is, who asks, and how to prove that.
type Auth struct {
	Source string // where it comes from: "cloud eqiad1 of /etc/openstack/clouds.yaml"
	URL    string // auth_url as given
	Method AuthMethod
	Region string // region_name; what the spec says is what counts

	User, UserID, UserDomain, UserDomainID             string
	Project, ProjectID, ProjectDomain, ProjectDomainID string
	Domain, DomainID                                   string // scope
	System                                             bool   // scope
	TrustID                                            string // scope
	Credential, CredentialID                           string // of an application

	Password, Token, CredentialSecret Secret

	CACert, Cert, Key string // files
	Insecure          bool   // TLS certificates are not checked
}

// Who says who asks, for error messages.
func (a Auth) Who() string {
	var b strings.Builder
	switch a.Method {
	case ByToken:
		b.WriteString("the token given")
	case ByApplicationCredential:
		b.WriteString("application credential " + cmp.Or(a.Credential, a.CredentialID))
		if a.CredentialID == "" {
			b.WriteString(" of user " + cmp.Or(a.User, a.UserID))
		}
		return b.String()
	default:
		b.WriteString("user " + cmp.Or(a.User, a.UserID))
		if d := cmp.Or(a.UserDomain, a.UserDomainID); d != "" && a.User != "" {
			b.WriteString(" of domain " + d)
		}
	}
	switch {
	case a.System:
		b.WriteString(", for the system")
	case a.Project != "" || a.ProjectID != "":
		b.WriteString(", for project " + cmp.Or(a.Project, a.ProjectID))
	case a.Domain != "" || a.DomainID != "":
		b.WriteString(", for domain " + cmp.Or(a.Domain, a.DomainID))
	}
	return b.String()
}

// AuthRequest says what the command line has to say about authentication.
type AuthRequest struct {
	Cloud    string // --os-cloud
	URL      string // --os-auth-url
	CACert   string // --os-cacert
	Insecure bool   // --insecure
	// Dirs are the folders in which clouds.yaml may be, in order.
	Dirs []string
	// Env gives an environment variable, "" when it is not set.
	Env func(string) string
	// ReadFile reads a file, as os.ReadFile.
	ReadFile func(string) ([]byte, error)
}

// envCloud is the name that openstacksdk gives to what the OS_* variables say.
const envCloud = "envvars"

// ResolveAuth finds out how to authenticate, as the openstack client does: a
// cloud that is named by --os-cloud or OS_CLOUD comes from clouds.yaml, with
// what secure.yaml beside it says; without one it is the OS_* variables; and
// without these the only cloud of clouds.yaml, if it is the only one.
func ResolveAuth(req AuthRequest) (Auth, error) {
	name := cmp.Or(req.Cloud, req.Env("OS_CLOUD"))
	var settings cloud
	var source string
	var err error
	switch {
	case name == envCloud, name == "" && req.inEnv():
		settings, source = fromEnv(req.Env), "the OS_* variables"
	default:
		settings, source, err = req.fromFiles(name)
	}
	if err != nil {
		return Auth{}, err
	}
	return makeAuth(req, settings, source)
}

// inEnv reports whether the variables say enough to try.
func (req AuthRequest) inEnv() bool {
	if req.Env("OS_AUTH_URL") != "" {
		return true
	}
	who := []string{"OS_USERNAME", "OS_USER_ID", "OS_TOKEN", "OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME"}
	return req.URL != "" && slices.ContainsFunc(who, func(name string) bool { return req.Env(name) != "" })
}

// envKeys has the setting that each variable gives.
func envKeys() map[string]string {
	return map[string]string{
		"OS_AUTH_URL": "auth_url", "OS_AUTH_TYPE": "auth_type", "OS_REGION_NAME": "region_name",
		"OS_USERNAME": "username", "OS_USER_ID": "user_id", "OS_PASSWORD": "password",
		"OS_USER_DOMAIN_NAME": "user_domain_name", "OS_USER_DOMAIN_ID": "user_domain_id",
		"OS_PROJECT_NAME": "project_name", "OS_PROJECT_ID": "project_id",
		"OS_TENANT_NAME": "tenant_name", "OS_TENANT_ID": "tenant_id",
		"OS_PROJECT_DOMAIN_NAME": "project_domain_name", "OS_PROJECT_DOMAIN_ID": "project_domain_id",
		"OS_DOMAIN_NAME": "domain_name", "OS_DOMAIN_ID": "domain_id", "OS_DEFAULT_DOMAIN": "default_domain",
		"OS_SYSTEM_SCOPE": "system_scope", "OS_TRUST_ID": "trust_id", "OS_TOKEN": "token",
		"OS_APPLICATION_CREDENTIAL_ID": "application_credential_id", "OS_APPLICATION_CREDENTIAL_NAME": "application_credential_name",
		"OS_APPLICATION_CREDENTIAL_SECRET": "application_credential_secret",
		"OS_CACERT":                        "cacert", "OS_CERT": "cert", "OS_KEY": "key", "OS_INSECURE": "insecure",
	}
}

func fromEnv(env func(string) string) cloud {
	c := cloud{auth: map[string]string{}, top: map[string]string{}}
	for variable, key := range envKeys() {
		if v := env(variable); v != "" {
			c.auth[key] = v
		}
	}
	return c
}

// fromFiles finds the cloud called name, or the only one when name is empty.
func (req AuthRequest) fromFiles(name string) (cloud, string, error) {
	file, data, err := req.findClouds()
	if err != nil {
		return cloud{}, "", err
	}
	if file == "" {
		return cloud{}, "", req.nothing(name)
	}
	clouds, err := parseClouds(file, data, "clouds")
	if err != nil {
		return cloud{}, "", err
	}
	if name == "" {
		if len(clouds) != 1 {
			return cloud{}, "", fmt.Errorf("which cloud of %s? say --os-cloud NAME or set OS_CLOUD; it has %s", file, strings.Join(slices.Sorted(maps.Keys(clouds)), ", "))
		}
		for only := range clouds {
			name = only
		}
	}
	c, ok := clouds[name]
	if !ok {
		return cloud{}, "", noCloud(name, file, clouds)
	}
	if c, err = req.withSecure(c, name, file); err != nil {
		return cloud{}, "", err
	}
	if c, err = req.withProfile(c, file); err != nil {
		return cloud{}, "", err
	}
	return c.over(secretsOf(req.Env)), fmt.Sprintf("cloud %s of %s", name, file), nil
}

// secretsOf gives what people keep out of a clouds.yaml and in a variable.
func secretsOf(env func(string) string) cloud {
	c := fromEnv(env)
	maps.DeleteFunc(c.auth, func(key, _ string) bool {
		return !slices.Contains([]string{"password", "token", "application_credential_secret", "cacert", "region_name"}, key)
	})
	return c
}

// findClouds gives the clouds.yaml that counts, with its name; no name when
// there is none.
func (req AuthRequest) findClouds() (string, []byte, error) {
	if file := req.Env("OS_CLIENT_CONFIG_FILE"); file != "" {
		data, err := req.ReadFile(file)
		if err != nil {
			return "", nil, fmt.Errorf("read the clouds.yaml that OS_CLIENT_CONFIG_FILE names: %w", err)
		}
		return file, data, nil
	}
	return req.find("clouds")
}

// find gives the first file called base in the folders.
func (req AuthRequest) find(base string) (string, []byte, error) {
	for _, dir := range req.Dirs {
		for _, ext := range []string{".yaml", ".yml", ".json"} {
			file := path.Join(dir, base+ext)
			data, err := req.ReadFile(file)
			if err == nil {
				return file, data, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return "", nil, fmt.Errorf("read %s: %w", file, err)
			}
		}
	}
	return "", nil, nil
}

// nothing says that there is no way to authenticate, and where it was looked for.
func (req AuthRequest) nothing(name string) error {
	where := strings.Join(req.Dirs, ", ")
	if name != "" {
		return fmt.Errorf("no clouds.yaml found for cloud %q; looked in %s; OS_CLIENT_CONFIG_FILE names one elsewhere", name, where)
	}
	return fmt.Errorf("no credentials for Keystone: OS_AUTH_URL and OS_CLOUD are not set, and there is no clouds.yaml in %s; source an openrc file, or say --os-cloud NAME", where)
}

// withSecure adds what the secure.yaml beside file says.
func (req AuthRequest) withSecure(c cloud, name, file string) (cloud, error) {
	secure := cmp.Or(req.Env("OS_CLIENT_SECURE_FILE"), path.Join(path.Dir(file), "secure.yaml"))
	data, err := req.ReadFile(secure)
	if errors.Is(err, fs.ErrNotExist) && req.Env("OS_CLIENT_SECURE_FILE") == "" {
		return c, nil
	}
	if err != nil {
		return cloud{}, fmt.Errorf("read %s: %w", secure, err)
	}
	clouds, err := parseClouds(secure, data, "clouds")
	if err != nil {
		return cloud{}, err
	}
	if s, ok := clouds[name]; ok {
		return s.over(c), nil
	}
	return c, nil
}

// withProfile puts c over the profile that it names, which clouds-public.yaml has.
func (req AuthRequest) withProfile(c cloud, file string) (cloud, error) {
	profile := cmp.Or(c.top["profile"], c.top["cloud"])
	if profile == "" {
		return c, nil
	}
	public, data, err := req.find("clouds-public")
	if err != nil {
		return cloud{}, err
	}
	if public == "" {
		if c.get("auth_url") != "" {
			return c, nil
		}
		return cloud{}, fmt.Errorf("%s names the profile %q and no auth_url, and there is no clouds-public.yaml", file, profile)
	}
	clouds, err := parseClouds(public, data, "public-clouds")
	if err != nil {
		return cloud{}, err
	}
	base, ok := clouds[profile]
	if !ok && c.get("auth_url") == "" {
		return cloud{}, noCloud(profile, public, clouds)
	}
	return c.over(base), nil
}

// makeAuth takes the settings c of source.
func makeAuth(req AuthRequest, c cloud, source string) (Auth, error) {
	a := Auth{
		Source: source, URL: cmp.Or(req.URL, c.get("auth_url")), Region: c.get("region_name"),
		User: c.get("username"), UserID: c.get("user_id"),
		UserDomain: c.get("user_domain_name"), UserDomainID: c.get("user_domain_id"),
		Project: cmp.Or(c.get("project_name"), c.get("tenant_name")), ProjectID: cmp.Or(c.get("project_id"), c.get("tenant_id")),
		ProjectDomain: c.get("project_domain_name"), ProjectDomainID: c.get("project_domain_id"),
		Domain: c.get("domain_name"), DomainID: c.get("domain_id"),
		TrustID:    c.get("trust_id"),
		Credential: c.get("application_credential_name"), CredentialID: c.get("application_credential_id"),
		Password: NewSecret(c.get("password")), Token: NewSecret(c.get("token")),
		CredentialSecret: NewSecret(c.get("application_credential_secret")),
		CACert:           cmp.Or(req.CACert, c.get("cacert")), Cert: c.get("cert"), Key: c.get("key"),
		Insecure: req.Insecure || isTrue(c.get("insecure")) || isFalse(c.get("verify")),
	}
	if scope := c.get("system_scope"); scope != "" {
		if scope != "all" && !isTrue(scope) {
			return Auth{}, fmt.Errorf("%s: system_scope is %q; Keystone knows \"all\"", source, scope)
		}
		a.System = true
	}
	if err := a.setMethod(c.get("auth_type"), req.openstack()); err != nil {
		return Auth{}, err
	}
	a.fillDomains(cmp.Or(c.get("default_domain"), "default"))
	return a, a.check()
}

// openstack gives the openstack client's command line for who asks.
func (req AuthRequest) openstack() string {
	if req.Cloud != "" && req.Cloud != envCloud {
		return "openstack --os-cloud " + req.Cloud
	}
	return "openstack"
}

// setMethod chooses the method by its name in OpenStack, or by what is there. The
// other ones that OpenStack has, and there may be more by plugins, want a browser, a
// code from a telephone or an identity provider: who has got a token so by client,
// the command line of the openstack client, can give that.
func (a *Auth) setMethod(name, client string) error {
	switch name {
	case "password", "v3password":
		a.Method = ByPassword
	case "token", "v3token":
		a.Method = ByToken
	case "v3applicationcredential":
		a.Method = ByApplicationCredential
	case "":
		switch {
		case a.CredentialID != "" || a.Credential != "":
			a.Method = ByApplicationCredential
		case a.Token.text != "" && (a.Password.text == "" || a.User == "" && a.UserID == ""):
			a.Method = ByToken
		default:
			a.Method = ByPassword
		}
	default:
		if a.Token.text != "" {
			a.Method = ByToken
			return nil
		}
		own := []string{"password", "token", "v3password", "v3token", "v3applicationcredential"}
		if near, ok := catalog.Nearest(name, own); ok && foreign(name) == "" {
			return fmt.Errorf("%s: auth_type %q is not known; did you mean %q?", a.Source, name, near)
		}
		return fmt.Errorf("%s: auth_type %q %s, and is not done here; get a token with the openstack client, and give it as OS_TOKEN: export OS_TOKEN=$(%s token issue -f value -c id); or use password, token or v3applicationcredential",
			a.Source, name, cmp.Or(foreign(name), "is of a plugin"), client)
	}
	return nil
}

// foreign says what an auth_type of OpenStack's own that is not done here needs;
// "" for one that is not known. The names are those of keystoneauth1 and its extras.
func foreign(name string) string {
	kinds := []struct{ prefix, needs string }{
		{"v3oidc", "asks an OpenID Connect provider"},
		{"v3websso", "asks in a browser"},
		{"v3totp", "asks for a passcode"},
		{"v3multifactor", "asks for more than one thing, as a passcode"},
		{"v3saml", "asks a SAML provider"},
		{"v3adfs", "asks a SAML provider"},
		{"v3kerberos", "asks Kerberos"},
		{"v3fedkerb", "asks Kerberos"},
		{"v3oauth", "asks by OAuth"},
		{"v3tokenlessauth", "asks by a certificate"},
		{"v2", "is of Identity API v2, which is gone"},
	}
	for _, k := range kinds {
		if strings.HasPrefix(name, k.prefix) {
			return k.needs
		}
	}
	return ""
}

// fillDomains gives names the default domain where they need one.
func (a *Auth) fillDomains(otherwise string) {
	if a.User != "" && a.UserDomain == "" && a.UserDomainID == "" {
		a.UserDomainID = otherwise
	}
	if a.Project != "" && a.ProjectDomain == "" && a.ProjectDomainID == "" {
		a.ProjectDomainID = otherwise
	}
}

// check says what is missing, and never what is there.
func (a Auth) check() error {
	var missing []string
	need := func(what string, has bool) {
		if !has {
			missing = append(missing, what)
		}
	}
	need("auth_url (OS_AUTH_URL)", a.URL != "")
	switch a.Method {
	case ByPassword:
		need("username (OS_USERNAME)", a.User != "" || a.UserID != "")
		need("password (OS_PASSWORD)", a.Password.text != "")
	case ByToken:
		need("token (OS_TOKEN)", a.Token.text != "")
	case ByApplicationCredential:
		need("application_credential_secret (OS_APPLICATION_CREDENTIAL_SECRET)", a.CredentialSecret.text != "")
		need("application_credential_id (OS_APPLICATION_CREDENTIAL_ID), or its name with a user",
			a.CredentialID != "" || a.Credential != "" && (a.User != "" || a.UserID != ""))
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: to authenticate by %s there is missing: %s", a.Source, a.Method, strings.Join(missing, ", "))
	}
	if at, err := keystone.Locate(a.URL); err != nil {
		return fmt.Errorf("%s: auth_url: %w", a.Source, err)
	} else if at.Dropped != "" || at.Host == "" || at.Port == 0 {
		return fmt.Errorf("%s: auth_url is no plain URL; write it as http://keystone.example.org:5000/v3", a.Source)
	}
	return nil
}

// identityURL gives the base of the Identity API v3 at auth_url, with its final
// slash: auth_url names it, or its parent, or the v2.0 that is gone.
func identityURL(authURL string) string {
	base := strings.TrimRight(authURL, "/")
	base = strings.TrimSuffix(strings.TrimSuffix(base, "/v2.0"), "/v3")
	return base + "/v3/"
}

// scrub takes a's secrets out of text, wherever it comes from.
func (a Auth) scrub(text string, more ...string) string {
	for _, s := range append(more, a.Password.text, a.Token.text, a.CredentialSecret.text) {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, "(hidden)")
		}
	}
	return text
}

func isTrue(s string) bool {
	return slices.Contains([]string{"1", "true", "yes", "on", "t", "y"}, strings.ToLower(s))
}

func isFalse(s string) bool {
	return slices.Contains([]string{"0", "false", "no", "off", "f", "n"}, strings.ToLower(s))
}
