package doctor_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/doctor"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const cloud = `
vips:
  - {name: api, addresses: [10.0.0.10/24, "2001:db8::10/64"], hostname: api.example.org, interface: eno1, vrrp: {router_id: 51}, tls: {certificate: /c.pem}}
controllers: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.2}, {name: c, address: 10.0.0.3}]
services: {keystone: {}, glance: {}}
`

func now() time.Time { return time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func ip(s string) netip.Addr     { return netip.MustParseAddr(s) }

// healthy gives the facts of a host with which nothing is wrong.
func healthy(t *testing.T) doctor.Facts {
	t.Helper()
	s, findings := spec.Parse("holdfast.yaml", []byte(cloud))
	if s == nil {
		t.Fatal(findings)
	}
	f := doctor.Facts{
		Spec: s, SpecFile: "holdfast.yaml", Controller: s.Controllers[0], Now: now(), Root: true, Kernel: "6.1.0-28-amd64", Systemd: true,
		Sysctls: map[string]string{
			"net.ipv4.ip_unprivileged_port_start": "1024", "net.core.somaxconn": "4096", "fs.nr_open": "1048576", "net.ipv4.ip_local_port_range": "32768 60999",
			"net.ipv6.conf.eno1.disable_ipv6": "0",
		},
		Tracked: 200, TrackedMax: 262144,
		Listeners: []doctor.Listener{
			{At: at("10.0.0.1:5000"), PID: 10, Command: "apache2"}, {At: at("10.0.0.10:5000"), PID: 20, Command: "haproxy", Ours: true},
			{At: at("0.0.0.0:22"), PID: 5, Command: "sshd"}, {At: at("10.0.0.1:9470"), PID: 30, Command: "holdfast", Ours: true},
		},
		Links: []doctor.Link{
			{Name: "lo", Up: true, Carrier: true, MTU: 65536, Addresses: []netip.Addr{ip("127.0.0.1")}},
			{Name: "eno1", Up: true, Carrier: true, MTU: 1500, Addresses: []netip.Addr{ip("10.0.0.1")}, LRO: doctor.No},
		},
		Answers: []doctor.Answer{
			{Address: ip("10.0.0.2"), MAC: "02:00:00:00:00:02", Link: "eno1"}, {Address: ip("10.0.0.3"), MAC: "02:00:00:00:00:03", Link: "eno1"},
			{Address: ip("10.0.0.10"), MAC: "02:00:00:00:00:02", Link: "eno1"}, // b holds it
		},
		Routers:      []doctor.Router{{Source: ip("10.0.0.2"), RouterID: 51, Version: 3, Link: "eno1"}, {Source: ip("10.0.0.99"), RouterID: 7, Version: 2, Link: "eno1"}},
		Synchronized: doctor.Yes,
		HAProxy: doctor.HAProxy{Path: "/usr/sbin/haproxy", User: doctor.Yes, Said: `HAProxy version 2.6.12-1+deb12u3 2025/10/03 - https://haproxy.org/
Status: long-term supported branch - will stop receiving fixes around Q2 2027.
Feature list : +EPOLL -KQUEUE +OPENSSL
Built with OpenSSL version : OpenSSL 3.0.17 1 Jul 2025
Running on OpenSSL version : OpenSSL 3.0.18 30 Sep 2025
`},
		Keystone:   []doctor.KeystoneHost{{Name: "a", URL: "http://10.0.0.1:5000/v3", Code: 200, Date: now(), At: now().Add(time.Second)}},
		FernetKeys: doctor.Yes,
		Names:      []doctor.Name{{VIP: "api", Hostname: "api.example.org", Want: s.VIPs[0].Addrs(), Addresses: []netip.Addr{ip("10.0.0.10")}, TTL: 5 * time.Minute}},
		FilesUsed:  1000, FilesMax: 1000000, MemoryFree: 4 << 30, Disk: []doctor.Disk{{Dir: "/var/lib/holdfast", Free: 1 << 30}},
	}
	for i, c := range s.Others("a") {
		snapshot := &status.Snapshot{Config: status.Config{Digest: s.Digest, File: "/etc/holdfast/holdfast.yaml"}, VIPs: []status.VIP{{Name: "api", State: status.Backup}}}
		if i == 0 {
			snapshot.VIPs[0] = status.VIP{Name: "api", State: status.Active, Present: true}
		}
		f.Peers = append(f.Peers, doctor.Peer{
			Name: c.Name, Address: c.Address, Ports: map[int]doctor.Reach{9470: doctor.Open, 9471: doctor.Open}, Snapshot: snapshot,
			SentAt: now(), GotAt: now().Add(10 * time.Millisecond), Clock: now().Add(5 * time.Millisecond), SmallFrames: doctor.Yes, BigFrames: doctor.Yes,
		})
	}
	return f
}

func TestHealthy(t *testing.T) {
	if found := doctor.Examine(healthy(t)); len(found) > 0 {
		t.Errorf("a healthy host has findings: %+v", found)
	}
}

// TestAnnounced has a VIP that several controllers announce by BGP be no fault.
func TestAnnounced(t *testing.T) {
	f := healthy(t)
	text := strings.Replace(strings.Replace(cloud, "interface: eno1, vrrp: {router_id: 51}", "announce: bgp", 1), `[10.0.0.10/24, "2001:db8::10/64"]`, "[10.0.0.10/32]", 1) +
		"bgp: {engine: external}\n"
	s, findings := spec.Parse("holdfast.yaml", []byte(text))
	if s == nil {
		t.Fatal(findings)
	}
	f.Spec, f.Routers, f.Names = s, nil, nil
	for i := range f.Peers {
		f.Peers[i].Snapshot.Config.Digest = s.Digest
		f.Peers[i].Snapshot.VIPs = []status.VIP{{Name: "api", Announce: "bgp", State: status.Active, Present: true}}
	}
	if found := doctor.Examine(f); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	if found := doctor.Meeting(f, "b", []doctor.Way{{What: doctor.ProtocolVRRP, Reach: doctor.Silent}}); len(found) > 0 {
		t.Errorf("without a VIP of VRRP: %+v", found)
	}
}

// TestNothingKnown has a doctor that could see nothing find nothing.
func TestNothingKnown(t *testing.T) {
	h := healthy(t)
	found := doctor.Examine(doctor.Facts{Spec: h.Spec, Controller: h.Controller, Root: true, HAProxy: doctor.HAProxy{}})
	if len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// plants has, for each kind of finding, what is planted into a healthy host, and what the
// evidence and the command are to name.
var plants = []struct {
	code, name  string
	plant       func(f *doctor.Facts)
	severity    status.Severity
	says, mends string
}{
	{doctor.CodeNotRoot, "", func(f *doctor.Facts) { f.Root = false }, status.Info, "not known", "sudo"},
	{doctor.CodeKernelOld, "", func(f *doctor.Facts) { f.Kernel = "4.19.0-27-amd64" }, status.Error, "4.19", "linux-image"},
	{doctor.CodePortEverywhere, "glance", func(f *doctor.Facts) {
		f.Listeners = append(f.Listeners, doctor.Listener{At: at("0.0.0.0:9292"), PID: 77, Command: "glance-api"})
	}, status.Error, "0.0.0.0:9292 listens, glance-api (pid 77)", "crudini --set /etc/glance/glance-api.conf DEFAULT bind_host 10.0.0.1"},
	{doctor.CodePortEverywhere, "keystone in Apache, IPv6", func(f *doctor.Facts) {
		f.Listeners = append(f.Listeners, doctor.Listener{At: at("[::]:5000"), PID: 78, Command: "apache2"})
	}, status.Error, "[::]:5000", "Listen 10.0.0.1:5000"},
	{doctor.CodePortOfVIP, "", func(f *doctor.Facts) {
		f.Listeners = append(f.Listeners, doctor.Listener{At: at("10.0.0.10:9292"), PID: 79, Command: "nginx"})
	}, status.Error, "10.0.0.10:9292 listens, nginx", "glance"},
	{doctor.CodePortOfAgent, "", func(f *doctor.Facts) {
		f.Listeners = append(f.Listeners, doctor.Listener{At: at("0.0.0.0:9471"), PID: 80, Command: "exporter"})
	}, status.Error, "exporter (pid 80)", "ss "},
	{doctor.CodeUnprivilegedPorts, "", func(f *doctor.Facts) { f.Sysctls["net.ipv4.ip_unprivileged_port_start"] = "0" }, status.Warning, "= 0", "ip_unprivileged_port_start = 1024"},
	{doctor.CodeEphemeralPorts, "", func(f *doctor.Facts) { f.Sysctls["net.ipv4.ip_local_port_range"] = "1024 60999" }, status.Warning, "9470", "ip_local_reserved_ports = 5000,9292,9470,9471"},
	{doctor.CodeBacklog, "", func(f *doctor.Facts) { f.Sysctls["net.core.somaxconn"] = "128" }, status.Warning, "= 128", "somaxconn = 4096"},
	{doctor.CodeIPv6Off, "", func(f *doctor.Facts) { f.Sysctls["net.ipv6.conf.eno1.disable_ipv6"] = "1" }, status.Error, "disable_ipv6 = 1", "disable_ipv6 = 0"},
	{doctor.CodeFilesPerProcess, "", func(f *doctor.Facts) { f.Sysctls["fs.nr_open"] = "65536" }, status.Error, "65536", "fs.nr_open = 1048576"},
	{doctor.CodeTrackingFull, "", func(f *doctor.Facts) { f.Tracked = 250000 }, status.Error, "250000", "nf_conntrack_max = 1048576"},
	{doctor.CodeTrackingSmall, "", func(f *doctor.Facts) { f.TrackedMax = 8192 }, status.Warning, "8192", "nf_conntrack_max = 262144"},
	{doctor.CodeNoInterface, "", func(f *doctor.Facts) { f.Links[1].Name = "enp2s0" }, status.Error, "enp2s0", "ip -brief link"},
	{doctor.CodeInterfaceDown, "no carrier", func(f *doctor.Facts) { f.Links[1].Carrier = false }, status.Error, "carrier false", "ip link set eno1 up"},
	{doctor.CodeInterfaceDown, "down", func(f *doctor.Facts) { f.Links[1].Up = false }, status.Error, "up false", "ip link set eno1 up"},
	{doctor.CodeNotThisHost, "", func(f *doctor.Facts) { f.Links[1].Addresses = []netip.Addr{ip("10.0.0.7")} }, status.Error, "10.0.0.7 on eno1", "ip -brief address"},
	{doctor.CodeInterfacePort, "", func(f *doctor.Facts) { f.Links[1].Master, f.Links[1].MasterKind = "br-ex", "bridge" }, status.Error, "master br-ex", "interface: br-ex"},
	{doctor.CodeInterfaceVRF, "", func(f *doctor.Facts) { f.Links[1].Master, f.Links[1].MasterKind = "mgmt", "vrf" }, status.Error, "mgmt", "ip route show vrf mgmt"},
	{doctor.CodeMTUAboveParent, "", func(f *doctor.Facts) {
		f.Links[1].Kind, f.Links[1].Parent, f.Links[1].ParentMTU, f.Links[1].MTU = "vlan", "eno2", 1500, 9000
	}, status.Error, "eno2 mtu 1500", "mtu 1500"},
	{doctor.CodeMTUPath, "", func(f *doctor.Facts) { f.Peers[1].BigFrames = doctor.No }, status.Error, "10.0.0.3", "tracepath"},
	{doctor.CodeBondMode, "", func(f *doctor.Facts) { plantBond(f, "balance-alb", 100, "eno3", "eno4") }, status.Warning, "balance-alb", "balance-alb"},
	{doctor.CodeBondBlind, "", func(f *doctor.Facts) { plantBond(f, "active-backup", 0, "eno3", "eno4") }, status.Warning, "0 ms", "miimon 100"},
	{doctor.CodeBondAlone, "", func(f *doctor.Facts) { plantBond(f, "active-backup", 100, "eno3") }, status.Warning, "up: eno3; all: eno3, eno4", "/proc/net/bonding/eno1"},
	{doctor.CodeOffload, "", func(f *doctor.Facts) { f.Links[1].LRO = doctor.Yes }, status.Warning, "large-receive-offload: on", "ethtool -K eno1 lro off"},
	{doctor.CodeNetworkd, "", func(f *doctor.Facts) {
		f.Managers = []doctor.Manager{{Name: "systemd-networkd", Link: "eno1", File: "/etc/systemd/network/10-lan.network"}}
	}, status.Warning, "10-lan.network", "10-lan.network.d/holdfast.conf"},
	{doctor.CodeNetplan, "", func(f *doctor.Facts) {
		f.Managers = []doctor.Manager{{Name: "netplan", Link: "eno1", File: "/etc/netplan/50.yaml"}}
	}, status.Warning, "/etc/netplan/50.yaml", "netplan set ethernets.eno1.critical=true"},
	{doctor.CodeNetworkManager, "", func(f *doctor.Facts) {
		f.Managers = []doctor.Manager{{Name: "NetworkManager", Link: "eno1", File: "/etc/NetworkManager/NetworkManager.conf"}}
	}, status.Warning, "NetworkManager.conf", "unmanaged-devices+=interface-name:hf-*"},
	{doctor.CodeCloudInit, "", func(f *doctor.Facts) {
		f.Managers = []doctor.Manager{{Name: "cloud-init", File: "/etc/cloud/cloud.cfg"}}
	}, status.Warning, "/etc/cloud/cloud.cfg", "config: disabled"},
	{doctor.CodeAddressInUse, "", func(f *doctor.Facts) { f.Answers[2].MAC = "02:00:00:00:00:99" }, status.Error, "02:00:00:00:00:99", "arping"},
	{doctor.CodeOtherRouter, "", func(f *doctor.Facts) { f.Routers[1].RouterID = 51 }, status.Error, "from 10.0.0.99", "router_id: 52"},
	{doctor.CodePeerSilent, "", func(f *doctor.Facts) {
		f.Answers, f.Peers[1].Ports, f.Peers[1].Snapshot = slices.Delete(f.Answers, 1, 2), map[int]doctor.Reach{9470: doctor.Silent, 9471: doctor.NoRoute}, nil
	}, status.Error, "nor TCP", "ping -c 3 10.0.0.3"},
	{doctor.CodePeerFiltered, "", func(f *doctor.Facts) { f.Peers[0].Ports[9471] = doctor.Silent }, status.Error, "9471", "tcp dport { 9470, 9471 } accept"},
	{doctor.CodeTwoHolders, "", func(f *doctor.Facts) {
		f.Peers[1].Snapshot.VIPs[0] = status.VIP{Name: "api", State: status.Active, Present: true}
	}, status.Error, "each says", "protocol 112"},
	{doctor.CodeSpecsDiffer, "", func(f *doctor.Facts) { f.Peers[1].Snapshot.Config.Digest = "abcabcabcabc" }, status.Warning, "abcabcabcabc there", "scp holdfast.yaml"},
	{doctor.CodeClockOff, "behind", func(f *doctor.Facts) { f.Peers[1].Clock = now().Add(-3 * time.Hour) }, status.Warning, "09:00:00", "chronyc"},
	{doctor.CodeClockOff, "ahead", func(f *doctor.Facts) { f.Peers[0].Clock = now().Add(5 * time.Second) }, status.Warning, "12:00:05", "chronyc"},
	{doctor.CodeClockOff, "keystone", func(f *doctor.Facts) { f.Keystone[0].Date = now().Add(time.Minute) }, status.Warning, "Date: ", "chronyc"},
	{doctor.CodeClockAlone, "", func(f *doctor.Facts) { f.Synchronized, f.Peers = doctor.No, nil }, status.Warning, "STA_UNSYNC", "chrony"},
	{doctor.CodeHAProxyMissing, "", func(f *doctor.Facts) { f.HAProxy = doctor.HAProxy{Path: "haproxy", Err: "there is no such program"} }, status.Error, "no such program", "apt-get install haproxy"},
	{doctor.CodeHAProxyOld, "", func(f *doctor.Facts) { f.HAProxy.Said = "HA-Proxy version 2.2.9-2+deb11u6 2023/12/23" }, status.Error, "2.2.9", "haproxy"},
	{doctor.CodeHAProxyEnded, "", func(f *doctor.Facts) { f.Now = now().AddDate(1, 0, 0) }, status.Warning, "Q2 2027", "haproxy"},
	{doctor.CodeHAProxyBug, "hash", func(f *doctor.Facts) {
		f.HAProxy.Said = strings.Replace(f.HAProxy.Said, "2.6.12-1+deb12u3", "3.0.11-1+deb13u1", 1)
	}, status.Warning, "3.0.11", "haproxy"},
	{doctor.CodeHAProxyBug, "haproxy.org's", func(f *doctor.Facts) {
		f.HAProxy.Said = strings.Replace(f.HAProxy.Said, "2.6.12-1+deb12u3", "2.6.14", 1)
	}, status.Warning, "2.6.14", "haproxy"},
	{doctor.CodeHAProxyNoTLS, "", func(f *doctor.Facts) {
		f.HAProxy.Said = "HAProxy version 2.8.5 2023/12/07\nFeature list : +EPOLL -OPENSSL +ZLIB\n"
	}, status.Error, "-OPENSSL", "haproxy"},
	{doctor.CodeHAProxyLibrary, "", func(f *doctor.Facts) {
		f.HAProxy.Said = strings.Replace(f.HAProxy.Said, "OpenSSL 3.0.17", "OpenSSL 1.1.1n", 1)
	}, status.Error, "1.1.1n", "ldd"},
	{doctor.CodeHAProxyUser, "", func(f *doctor.Facts) { f.HAProxy.User = doctor.No }, status.Error, "getent", "useradd"},
	{doctor.CodeHAProxyUnit, "", func(f *doctor.Facts) { f.Programs = []doctor.Program{{Name: "haproxy", Enabled: true, Active: true}} }, status.Error, "active true", "systemctl status haproxy"},
	{doctor.CodeOtherManager, "", func(f *doctor.Facts) { f.Programs = []doctor.Program{{Name: "keepalived", Enabled: true}} }, status.Warning, "enabled true", "systemctl disable keepalived"},
	{doctor.CodeSELinux, "", func(f *doctor.Facts) { f.SELinux, f.SELinuxAny = true, doctor.No }, status.Error, "haproxy_connect_any", "setsebool"},
	{doctor.CodeCertificate, "", func(f *doctor.Facts) {
		f.Certificates = []doctor.Certificate{{VIP: "api", File: "/c.pem", Findings: []status.Finding{{Severity: status.Error, Code: "certificate-expired", Text: "it has expired"}}}}
	}, status.Error, "/c.pem (certificate-expired)", "openssl x509"},
	{doctor.CodeKeystone, "", func(f *doctor.Facts) {
		f.Keystone[0] = doctor.KeystoneHost{Name: "b", URL: "http://10.0.0.2:5000/v3", Err: "connection refused"}
	}, status.Warning, "connection refused", "curl"},
	{doctor.CodeFernet, "", func(f *doctor.Facts) { f.FernetKeys = doctor.No }, status.Warning, "fernet-keys is empty", "rsync"},
	{doctor.CodeNameUnknown, "", func(f *doctor.Facts) { f.Names[0].Addresses, f.Names[0].Err = nil, "no resolver knows it" }, status.Warning, "no resolver", "holdfast dns"},
	{doctor.CodeNameElsewhere, "", func(f *doctor.Facts) { f.Names[0].Addresses = []netip.Addr{ip("10.0.0.1")} }, status.Warning, "resolves to 10.0.0.1", "holdfast dns"},
	{doctor.CodeNameTTL, "", func(f *doctor.Facts) { f.Names[0].TTL = 24 * time.Hour }, status.Warning, "24h", "holdfast dns"},
	{doctor.CodeResolverSilent, "", func(f *doctor.Facts) { f.Names[0].SilentResolvers = []string{"10.9.9.9"} }, status.Warning, "/etc/resolv.conf", "dig @10.9.9.9"},
	{doctor.CodeFilesUsed, "", func(f *doctor.Facts) { f.FilesUsed = 990000 }, status.Error, "990000 of 1000000", "fs.file-max"},
	{doctor.CodeMemory, "", func(f *doctor.Facts) { f.MemoryFree = 100 << 20 }, status.Warning, "100 MiB", "ps "},
	{doctor.CodeDisk, "full", func(f *doctor.Facts) { f.Disk[0].Free = 1 << 20 }, status.Error, "1048576 octets free", "df -h"},
	{doctor.CodeDisk, "read-only", func(f *doctor.Facts) { f.Disk[0].ReadOnly = true }, status.Error, "read-only: true", "df -h"},
	{doctor.CodeAgentSays, "source guard", func(f *doctor.Facts) {
		f.Peers[1].Snapshot.Findings = []status.Finding{{Severity: status.Warning, Code: status.CodeDetourBlocked, Subject: "vip api", Text: "frames with clients' addresses do not pass"}}
	}, status.Warning, "detour-blocked", "holdfast status"},
}

func plantBond(f *doctor.Facts, mode string, mii int, up ...string) {
	l := &f.Links[1]
	l.Kind, l.BondMode, l.BondMII, l.BondPorts, l.BondUp = "bond", mode, mii, []string{"eno3", "eno4"}, up
}

func TestPlanted(t *testing.T) {
	for _, p := range plants {
		t.Run(p.code+" "+p.name, func(t *testing.T) {
			f := healthy(t)
			p.plant(&f)
			found := doctor.Examine(f)
			if len(found) != 1 || found[0].Code != p.code || found[0].Severity != p.severity {
				t.Fatalf("found %+v, want one %s %s", found, p.severity, p.code)
			}
			g := found[0]
			if !strings.Contains(g.Evidence, p.says) || !strings.Contains(g.Command, p.mends) {
				t.Errorf("the evidence %q is to name %q, and the command %q %q", g.Evidence, p.says, g.Command, p.mends)
			}
			if g.Subject == "" || g.Text == "" || g.Evidence == "" || g.Remedy == "" || g.Command == "" {
				t.Errorf("something is not said: %+v", g)
			}
			if doctor.Healthy(found) != (p.severity == status.Info) {
				t.Error("healthy, or not, against its severity")
			}
		})
	}
}

// TestAllCodesArePlanted has each code planted, and told of in docs/doctor.md.
func TestAllCodesArePlanted(t *testing.T) {
	source, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)`(?: \\*)? \\|").FindAllStringSubmatch(string(doc), -1) {
		listed[row[1]] = true
	}
	for _, c := range regexp.MustCompile(`= "([a-z0-9-]+)"`).FindAllStringSubmatch(string(source), -1) {
		planted := false
		for _, p := range plants {
			planted = planted || p.code == c[1]
		}
		if !planted {
			t.Errorf("nothing plants %s", c[1])
		}
		if !listed[c[1]] {
			t.Errorf("docs/doctor.md does not list %s", c[1])
		}
		delete(listed, c[1])
	}
	for code := range listed {
		t.Errorf("docs/doctor.md lists %s, which there is not", code)
	}
}

func TestDistributionsRepair(t *testing.T) {
	f := healthy(t)
	f.HAProxy.Said = strings.Replace(f.HAProxy.Said, "2.6.12-1+deb12u3", "2.8.1-1ubuntu1", 1)
	if found := doctor.Examine(f); len(found) > 0 {
		t.Errorf("a distribution's release is judged by its number: %+v", found)
	}
	f.HAProxy.Said = strings.Replace(f.HAProxy.Said, "2.8.1-1ubuntu1", "3.0.13", 1)
	if found := doctor.Examine(f); len(found) > 0 {
		t.Errorf("the first release without a bug has it: %+v", found)
	}
}

// withSpec puts another text into the cloud of f.
func withSpec(t *testing.T, f *doctor.Facts, old, text string) {
	t.Helper()
	s, findings := spec.Parse("holdfast.yaml", []byte(strings.Replace(cloud, old, text, 1)))
	if s == nil {
		t.Fatal(findings)
	}
	f.Spec, f.Controller = s, s.Controllers[0]
	for i := range f.Peers {
		f.Peers[i].Snapshot.Config.Digest = s.Digest
	}
}

// What services share a port for is looked for there, and not at ports that HAProxy leaves alone.
func TestSharedPorts(t *testing.T) {
	f := healthy(t)
	withSpec(t, &f, "tls: {certificate: /c.pem}", "tls: {certificate: /c.pem, redirect: 80}, public: {by: path, ports: false}")
	f.Listeners = append(f.Listeners, doctor.Listener{At: at("0.0.0.0:9292"), PID: 77, Command: "glance-api"})
	if found := doctor.Examine(f); len(found) > 0 {
		t.Errorf("a port that HAProxy does not listen on: %+v", found)
	}
	f.Listeners = append(f.Listeners, doctor.Listener{At: at("[::]:443"), PID: 78, Command: "apache2"}, doctor.Listener{At: at("0.0.0.0:80"), PID: 78, Command: "apache2"})
	found := doctor.Examine(f)
	if len(found) != 2 || found[0].Code != doctor.CodePortEverywhere || !strings.Contains(found[0].Command, "Listen 10.0.0.1:443") || !strings.Contains(found[1].Command, "Listen 10.0.0.1:80") {
		t.Errorf("the shared port, and that of plain HTTP: %+v", found)
	}
}

// Without root's rights nobody sees whose a socket is: that of the agent's HAProxy is no
// finding then. One on every address is never its.
func TestPortsWithoutRoot(t *testing.T) {
	f := healthy(t)
	f.Root = false
	for i := range f.Listeners {
		f.Listeners[i].PID, f.Listeners[i].Command, f.Listeners[i].Ours = 0, "", false
	}
	if found := doctor.Examine(f); len(found) != 1 || found[0].Code != doctor.CodeNotRoot {
		t.Errorf("%+v", found)
	}
	f.Listeners = append(f.Listeners, doctor.Listener{At: at("0.0.0.0:9292")})
	if found := doctor.Examine(f); len(found) != 2 || found[0].Code != doctor.CodePortEverywhere {
		t.Errorf("%+v", found)
	}
}

// All controllers have an address that is announced by BGP.
func TestAllHoldByBGP(t *testing.T) {
	f := healthy(t)
	f.Peers[1].Snapshot.VIPs[0] = status.VIP{Name: "api", State: status.Active, Present: true}
	f.Spec.VIPs[0].Announce = spec.AnnounceBGP
	if found := doctor.Examine(f); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// A controller that answers on two interfaces has an address of hardware on each.
func TestControllersWithTwoInterfaces(t *testing.T) {
	f := healthy(t)
	f.Spec.VIPs[0].Interface = "eno2"
	f.Sysctls["net.ipv6.conf.eno2.disable_ipv6"] = "0"
	f.Links = append(f.Links, doctor.Link{Name: "eno2", Up: true, Carrier: true, MTU: 1500})
	f.Answers = slices.Concat(f.Answers[:2], []doctor.Answer{
		{Address: ip("10.0.0.2"), MAC: "02:00:00:00:02:02", Link: "eno2"}, {Address: ip("10.0.0.10"), MAC: "02:00:00:00:02:02", Link: "eno2"},
	})
	if found := doctor.Examine(f); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// A command does no more than its finding is about, and has nothing from another host.
func TestCommandsAreSafe(t *testing.T) {
	one := func(plant func(f *doctor.Facts)) doctor.Finding {
		t.Helper()
		f := healthy(t)
		plant(&f)
		found := doctor.Examine(f)
		if len(found) != 1 {
			t.Fatalf("%+v", found)
		}
		return found[0]
	}
	if g := one(func(f *doctor.Facts) {
		f.Sysctls["net.ipv4.ip_local_port_range"], f.Sysctls["net.ipv4.ip_local_reserved_ports"] = "1024 60999", "35357,9470-9471"
	}); !strings.Contains(g.Command, "ip_local_reserved_ports = 35357,9470-9471,5000,9292'") {
		t.Errorf("what was reserved is to stay so: %s", g.Command)
	}
	if g := one(func(f *doctor.Facts) {
		f.Spec.VIPs[0].Interface, f.Links[1].Name = "bond0.100", "bond0.100"
		f.Answers[0].Link, f.Answers[1].Link, f.Answers[2].Link = "bond0.100", "bond0.100", "bond0.100"
		f.Sysctls["net.ipv6.conf.bond0.100.disable_ipv6"] = "1"
	}); !strings.Contains(g.Command, "net/ipv6/conf/bond0.100/disable_ipv6 = 0") {
		t.Errorf("a VLAN has a dot in its name: %s", g.Command)
	}
	for _, p := range []string{"haproxy", "keepalived", "pacemaker"} {
		if g := one(func(f *doctor.Facts) { f.Programs = []doctor.Program{{Name: p, Active: true, Enabled: true}} }); strings.Contains(g.Command, "disable") {
			t.Errorf("what may serve the cloud is ended: %s", g.Command)
		}
	}
	if g := one(func(f *doctor.Facts) {
		f.Peers[1].Snapshot.Config = status.Config{Digest: "abcabcabcabc", File: "/etc/x; poweroff"}
	}); strings.Contains(g.Command, "poweroff") {
		t.Errorf("another host's words are in %s", g.Command)
	}
	if g := one(func(f *doctor.Facts) {
		f.Peers[1].Snapshot.Findings = []status.Finding{{Severity: status.Error, Code: status.CodeDiskFull, Text: "full", Command: "poweroff"}}
	}); g.Command != "ssh 10.0.0.3 holdfast status" {
		t.Errorf("another host's command: %s", g.Command)
	}
}

// The command that names a bridge in the place of its port leaves VLANs of that port alone.
func TestInterfaceCommand(t *testing.T) {
	f := healthy(t)
	f.SpecFile = filepath.Join(t.TempDir(), "holdfast.yaml")
	text := "vips: [{interface: eno1, x: y}, {interface: eno1.100}, {interface: eno1}]\ninterface: eno1\n"
	if err := os.WriteFile(f.SpecFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Links[1].Master, f.Links[1].MasterKind = "br-ex", "bridge"
	command, _, _ := strings.Cut(doctor.Examine(f)[0].Command, " && ")
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v, %s", command, err, out)
	}
	want := "vips: [{interface: br-ex, x: y}, {interface: eno1.100}, {interface: br-ex}]\ninterface: br-ex\n"
	if got, _ := os.ReadFile(f.SpecFile); string(got) != want {
		t.Errorf("%s made\n%s", command, got)
	}
}

func TestReservedPorts(t *testing.T) {
	f := healthy(t)
	f.Sysctls["net.ipv4.ip_local_port_range"] = "1024 60999"
	f.Sysctls["net.ipv4.ip_local_reserved_ports"] = "5000,9000-9500"
	if found := doctor.Examine(f); len(found) > 0 {
		t.Errorf("ports that are reserved cannot be taken: %+v", found)
	}
}

func TestMeeting(t *testing.T) {
	f := healthy(t)
	ways := []doctor.Way{{What: "tcp 9470", Reach: doctor.Open}, {What: "tcp 9471", Reach: doctor.Refused}, {What: doctor.ProtocolVRRP, Reach: doctor.Open}}
	if found := doctor.Meeting(f, "b", ways); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	ways[1].Reach, ways[2].Reach = doctor.Silent, doctor.Silent
	found := doctor.Meeting(f, "b", ways)
	if len(found) != 2 || !strings.Contains(found[0].Command, "tcp dport { 9471 }") || !strings.Contains(found[1].Command, "protocol 112") {
		t.Errorf("%+v", found)
	}
}
