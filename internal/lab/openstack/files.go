package openstack

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"holdfast/internal/spec"
)

// Folders of the keys that all Keystones share.
const (
	fernetKeys     = "fernet-keys"
	credentialKeys = "credential-keys"
)

// fernetKey makes a new key: 32 random bytes in URL-safe Base64.
func fernetKey() (string, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("make a key for Keystone: %w", err)
	}
	return base64.URLEncoding.EncodeToString(key), nil
}

// writeFiles writes what is the same for every host.
func (c *Cloud) writeFiles() error {
	for _, dir := range []string{"db", "log", "manage", "images", "lock", fernetKeys, credentialKeys} {
		if err := os.MkdirAll(c.path(dir), 0o700); err != nil {
			return fmt.Errorf("prepare OpenStack: %w", err)
		}
	}
	files := map[string]string{
		"my.cnf":               c.databaseConf(),
		"manage/keystone.conf": c.keystoneConf(c.path("manage", "fail")),
		"clouds.yaml":          c.clouds(),
	}
	// What keystone-manage fernet_setup and credential_setup would make, in two
	// starts of a Python less: a primary key and a staged one.
	for _, dir := range []string{fernetKeys, credentialKeys} {
		for _, name := range []string{"0", "1"} {
			key, err := fernetKey()
			if err != nil {
				return err
			}
			files[filepath.Join(dir, name)] = key
		}
	}
	if slices.Contains(c.opt.Services, "glance") {
		files["manage/glance-api.conf"] = c.glanceConf("manage", spec.Host{Address: netip.IPv4Unspecified()}, spec.Service{})
	}
	for name, text := range files {
		if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("prepare OpenStack: %w", err)
		}
	}
	return nil
}

// databaseConf keeps the database small, and does not care for power cuts: it
// is made anew for every lab.
func (c *Cloud) databaseConf() string {
	return fmt.Sprintf(`[mariadbd]
user=root
datadir=%s
socket=%s
pid-file=%s
skip-networking
skip-name-resolve
character-set-server=utf8mb3
collation-server=utf8mb3_general_ci
innodb-flush-log-at-trx-commit=0
innodb-flush-method=nosync
innodb-log-file-size=16M
innodb-buffer-pool-size=64M
max-connections=500
performance-schema=OFF
`, c.path("db"), c.socket(), c.path("db.pid"))
}

func (c *Cloud) connection(database string) string {
	return fmt.Sprintf("[database]\nconnection = mysql+pymysql://root@localhost/%s?unix_socket=%s&charset=utf8\nmax_pool_size = 5\n", database, c.socket())
}

// keystoneConf is that of one Keystone. The cache's null backend shares nothing
// among instances, and keeps the cache of each request.
func (c *Cloud) keystoneConf(failFile string) string {
	return fmt.Sprintf(`[DEFAULT]
use_stderr = true
[token]
provider = fernet
[fernet_tokens]
key_repository = %[1]s
[fernet_receipts]
key_repository = %[1]s
[credential]
key_repository = %[2]s
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.null
[healthcheck]
backends = disable_by_file
disable_by_file_path = %[3]s
[oslo_policy]
policy_dirs = /etc/keystone/policy.d
`, c.path(fernetKeys), c.path(credentialKeys), failFile) + c.connection("keystone")
}

// hostDir is the folder of service's configuration on host.
func (c *Cloud) hostDir(service spec.Service, host spec.Host) string {
	return c.path(service.Name + "-" + host.Name)
}

// writeHost writes the configuration of service on host.
func (c *Cloud) writeHost(service spec.Service, host spec.Host, failFile string) error {
	dir := c.hostDir(service, host)
	files := map[string]string{"keystone.conf": c.keystoneConf(failFile)}
	if service.Name == "glance" {
		paste, err := pasteFile(failFile)
		if err != nil {
			return err
		}
		files = map[string]string{
			"glance-api.conf":      c.glanceConf(dir, host, service),
			"glance-api-paste.ini": paste,
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("configure %s on %s: %w", service.Name, host.Name, err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure %s on %s: %w", service.Name, host.Name, err)
		}
	}
	return nil
}

// pasteFile is the package's own, but for the path of the file that disables
// the health check.
func pasteFile(failFile string) (string, error) {
	data, err := os.ReadFile("/etc/glance/glance-api-paste.ini")
	if err != nil {
		return "", fmt.Errorf("read Glance's pipelines: %w", err)
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "disable_by_file_path") {
			lines[i] = "disable_by_file_path = " + failFile
		}
	}
	return strings.Join(lines, "\n"), nil
}

// glanceConf is that of Glance on host. It asks the Keystone of its own host, if
// there is one: no controller depends on another.
func (c *Cloud) glanceConf(dir string, host spec.Host, service spec.Service) string {
	keystone := c.service("keystone")
	at := keystone.Hosts[0].Address
	for _, h := range keystone.Hosts {
		if h.Address == host.Address {
			at = h.Address
		}
	}
	return fmt.Sprintf(`[DEFAULT]
enabled_backends = fs:file
use_stderr = true
transport_url = fake://
node_staging_uri = file://%[1]s/staging
worker_self_reference_url = http://%[2]s
bind_host = %[3]s
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = %[4]s
[os_glance_staging_store]
filesystem_store_datadir = %[1]s/staging
[os_glance_tasks_store]
filesystem_store_datadir = %[1]s/tasks
[paste_deploy]
flavor = keystone
config_file = %[1]s/glance-api-paste.ini
[oslo_concurrency]
lock_path = %[5]s
[oslo_policy]
policy_dirs = /etc/glance/policy.d
[wsgi]
python_interpreter = /usr/bin/python3
[keystone_authtoken]
# The catalog of a lab has public endpoints only; keystonemiddleware would look
# for Keystone's internal one.
interface = public
auth_type = password
auth_url = http://%[6]s/v3
username = admin
password = %[7]s
project_name = admin
user_domain_id = default
project_domain_id = default
region_name = %[8]s
`, dir, service.At(host), host.Address, c.path("images"), c.path("lock"),
		netip.AddrPortFrom(at, uint16(keystone.Port)), Password, c.opt.Spec.Region) + c.connection("glance")
}

func (c *Cloud) service(name string) spec.Service {
	i := slices.IndexFunc(c.opt.Spec.Services, func(s spec.Service) bool { return s.Name == name })
	return c.opt.Spec.Services[i] // Check has seen it
}

// clouds is the clouds.yaml of the lab's nodes.
func (c *Cloud) clouds() string {
	keystone := c.service("keystone")
	at := map[string]string{"lab": fmt.Sprintf("http://%s:%d", keystone.Hosts[0].Name, keystone.Port), "vip": ""}
	for _, v := range c.opt.Spec.VIPs {
		if slices.Contains(v.Endpoints, "public") {
			scheme, place := "http", v.PlaceOf(keystone, "public")
			if v.TLS != nil {
				scheme = "https"
			}
			at["vip"] = fmt.Sprintf("%s://%s:%d%s", scheme, place.Name, place.Port, place.Path)
		}
	}
	var b strings.Builder
	b.WriteString("clouds:\n")
	for _, name := range []string{"lab", "vip"} {
		if at[name] == "" {
			continue
		}
		fmt.Fprintf(&b, `  %s:
    auth:
      auth_url: %s/v3
      username: admin
      password: %s
      project_name: admin
      user_domain_id: default
      project_domain_id: default
    region_name: %s
    verify: false
`, name, at[name], Password, c.opt.Spec.Region)
	}
	return b.String()
}

// catalogSQL fills Keystone's tables with a service and a public endpoint for
// every service of s that belongs into a catalog. It takes less time than
// asking Keystone to, which does not run yet. The ids are the same in every lab.
func catalogSQL(s *spec.Spec) string {
	var b strings.Builder
	b.WriteString("delete from endpoint; delete from service;\n")
	for _, svc := range s.Services {
		if svc.Type == "" || svc.Mode != spec.HTTP || len(svc.Hosts) == 0 {
			continue
		}
		id := hexID("service " + svc.Name)
		fmt.Fprintf(&b, "insert into service (id, type, enabled, extra) values ('%s', %s, 1, %s);\n",
			id, quote(svc.Type), quote(fmt.Sprintf(`{"name": %q}`, svc.Name)))
		url := fmt.Sprintf("http://%s:%d%s", svc.Hosts[0].Name, svc.Port, svc.Path)
		fmt.Fprintf(&b, "insert into endpoint (id, interface, service_id, url, extra, enabled, region_id) values ('%s', 'public', '%s', %s, '{}', 1, %s);\n",
			hexID("endpoint "+svc.Name), id, quote(url), quote(s.Region))
	}
	return b.String()
}

// hexID makes an id as Keystone's are, 32 hex digits, of text.
func hexID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%x", sum[:16])
}

// quote makes an SQL string of text.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
