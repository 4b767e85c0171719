package look

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/internal/doctor"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

func testSpec(t *testing.T) *spec.Spec {
	t.Helper()
	s, findings := spec.Parse("holdfast.yaml", []byte(`
vips: [{name: api, addresses: [10.0.0.10/24], hostname: api.example.org, interface: eno1, device: macvlan, vrrp: {router_id: 51}}]
controllers: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.2}]
services: {keystone: {}}
`))
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// TestManagers reads configurations as distributions have them.
func TestManagers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  []doctor.Manager
	}{
		{"nothing", nil, nil},
		{"networkd that does not run", map[string]string{"etc/systemd/network/10-lan.network": "[Match]\nName=eno*\n"}, nil},
		{"networkd", map[string]string{"run/systemd/netif/state": "", "etc/systemd/network/10-lan.network": "[Match]\nName=eno*\n[Network]\nDHCP=no\n"},
			[]doctor.Manager{{Name: "systemd-networkd", Link: "eno1", File: "/etc/systemd/network/10-lan.network"}}},
		{"networkd that keeps, by a drop-in", map[string]string{
			"run/systemd/netif/state": "", "usr/lib/systemd/network/10-lan.network": "[Match]\nName = eno1 eno2\n",
			"etc/systemd/network/10-lan.network.d/holdfast.conf": "[Network]\nKeepConfiguration=yes\n",
		}, []doctor.Manager{{Name: "systemd-networkd", Link: "eno1", File: "/usr/lib/systemd/network/10-lan.network", Keeps: true}}},
		{"netplan", map[string]string{"etc/netplan/50.yaml": "network: {version: 2, ethernets: {eno1: {dhcp4: false}}, bonds: {bond0: {critical: true}}}\n"},
			[]doctor.Manager{{Name: "netplan", Link: "bond0", File: "/etc/netplan/50.yaml", Keeps: true}, {Name: "netplan", Link: "eno1", File: "/etc/netplan/50.yaml"}}},
		{"netplan that keeps, by another file", map[string]string{
			"etc/netplan/50.yaml": "network: {version: 2, renderer: networkd, ethernets: {eno1: {dhcp4: false}}}\n", "etc/netplan/70-netplan-set.yaml": "network: {ethernets: {eno1: {critical: true}}}\n",
		}, []doctor.Manager{{Name: "netplan", Link: "eno1", File: "/etc/netplan/50.yaml", Keeps: true}}},
		{"netplan by NetworkManager", map[string]string{"etc/netplan/01.yaml": "network: {renderer: NetworkManager}\n", "etc/netplan/50.yaml": "network: {ethernets: {eno1: {dhcp4: false}}}\n"}, nil},
		{"netplan that is not YAML", map[string]string{"etc/netplan/50.yaml": "network: [\n"}, nil},
		{"NetworkManager", map[string]string{"run/NetworkManager/x": ""}, []doctor.Manager{{Name: "NetworkManager", Link: "eno1", File: "/etc/NetworkManager/NetworkManager.conf"}}},
		{"NetworkManager that keeps off", map[string]string{"run/NetworkManager/x": "", "etc/NetworkManager/conf.d/90.conf": "[keyfile]\nunmanaged-devices+=interface-name:hf-*\n"},
			[]doctor.Manager{{Name: "NetworkManager", Link: "eno1", File: "/etc/NetworkManager/NetworkManager.conf", Keeps: true}}},
		{"cloud-init", map[string]string{"etc/cloud/cloud.cfg": "users: [default]\n"}, []doctor.Manager{{Name: "cloud-init", File: "/etc/cloud/cloud.cfg"}}},
		{"cloud-init without its network", map[string]string{"etc/cloud/cloud.cfg": "users: [default]\n", "etc/cloud/cloud.cfg.d/99.cfg": "network: {config: disabled}\n"},
			[]doctor.Manager{{Name: "cloud-init", File: "/etc/cloud/cloud.cfg", Keeps: true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tc.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := testSpec(t)
			l := &looker{opt: Options{Spec: s, Controller: s.Controllers[0], Root: root}, facts: doctor.Facts{Systemd: true, Links: []doctor.Link{{Name: "eno1"}}}}
			l.managers(t.Context())
			if !slices.Equal(l.facts.Managers, tc.want) {
				t.Errorf("got %+v, want %+v", l.facts.Managers, tc.want)
			}
		})
	}
}

func TestIsOurs(t *testing.T) {
	for _, tc := range []struct {
		line []string
		want bool
	}{
		{[]string{"/usr/bin/holdfast", "agent", "--controller", "a"}, true},
		{[]string{"/usr/bin/holdfast", "lab", "standin"}, false},
		{[]string{"haproxy", "-W", "-S", "/run/holdfast/master.sock,mode,600,level,admin"}, true},
		{[]string{"/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy/haproxy.cfg"}, false},
		{[]string{""}, false},
	} {
		if got := isOurs(tc.line); got != tc.want {
			t.Errorf("%q: %v", tc.line, got)
		}
	}
}

// TestLookHere looks at the machine that runs the test: whatever it is, nothing panics, and
// what every Linux has is there.
func TestLookHere(t *testing.T) {
	s := testSpec(t)
	f := Look(t.Context(), Options{Spec: s, Controller: s.Controllers[0], HAProxy: "/no/haproxy", StateDir: "/no/state/dir", Hear: 1})
	if f.Kernel == "" || len(f.Links) == 0 || f.MemoryFree == 0 || f.Sysctls["net.core.somaxconn"] == "" || len(f.Disk) != 1 {
		t.Errorf("something is missing: %+v", f)
	}
	if f.HAProxy.Err == "" {
		t.Error("there is a HAProxy where there is none")
	}
}

// TestCertificateThatIsAPipe has the doctor wait for nobody.
func TestCertificateThatIsAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "api.pem")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s := testSpec(t)
	s.VIPs[0].TLS = &spec.TLS{Certificate: pipe}
	l := &looker{opt: Options{Spec: s, Controller: s.Controllers[0]}, facts: doctor.Facts{Root: true}}
	l.certificates(t.Context())
	if all := l.facts.Certificates; len(all) != 1 || len(all[0].Findings) != 1 || all[0].Findings[0].Code != status.CodeCertificateUnreadable {
		t.Errorf("%+v", all)
	}
}
