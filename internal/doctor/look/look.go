// Package look gathers the facts about this host that package doctor judges: from /proc,
// the kernel, files of configuration, and by asking the other controllers. It changes
// nothing; what it cannot see it leaves out.
package look

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/certificate"
	"holdfast/internal/doctor"
	"holdfast/internal/file"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Options say where to look.
type Options struct {
	Spec       *spec.Spec
	SpecFile   string
	Controller spec.Controller
	HAProxy    string // the program; "haproxy" is looked for in PATH
	StateDir   string
	// Local asks the agent of this host for its Snapshot; nil where there is none to ask.
	Local func(context.Context) (status.Snapshot, error)
	// Hear is how long the network is listened to.
	Hear time.Duration
	// Root is where files are looked for; "" is "/". For tests.
	Root string
}

const (
	// commandTime bounds each program that is asked, and answerTime each question over
	// the network.
	commandTime = 5 * time.Second
	answerTime  = 2 * time.Second
)

// Look gathers the facts. It takes about as long as Options.Hear, and at most some seconds more.
func Look(ctx context.Context, opt Options) doctor.Facts {
	l := &looker{opt: opt, facts: doctor.Facts{
		Spec: opt.Spec, SpecFile: opt.SpecFile, Controller: opt.Controller, Now: time.Now(), Root: os.Geteuid() == 0,
	}}
	for _, look := range []func(context.Context){
		l.kernel, l.sysctls, l.room, l.listeners, l.links, l.managers, l.clock, l.haproxy, l.programs, l.selinux, l.certificates, l.fernet,
	} {
		look(ctx)
	}
	// What waits for others, at once. Each fills in fields of its own.
	var all sync.WaitGroup
	for _, look := range []func(context.Context){l.neighbours, l.peers, l.keystone, l.names} {
		all.Go(func() { look(ctx) })
	}
	all.Wait()
	return l.facts
}

type looker struct {
	opt   Options
	facts doctor.Facts
}

// path gives a file's place below the root.
func (l *looker) path(name string) string { return filepath.Join("/", l.opt.Root, name) }

// read gives a file's text without the space around it, "" where it cannot be read.
func (l *looker) read(name string) string {
	data, err := os.ReadFile(l.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// run gives what a program says on stdout.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return string(out), err
}

func (l *looker) kernel(context.Context) {
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		l.facts.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	// In a container, or a lab's node, that directory may be the host's: what systemd manages is then not here.
	_, err := os.Stat(l.path("run/systemd/system"))
	l.facts.Systemd = err == nil && (l.opt.Root != "" || l.read("proc/1/comm") == "systemd")
}

// sysctls reads those that are judged. Those below net are of this network namespace.
func (l *looker) sysctls(context.Context) {
	files := map[string]string{}
	for _, name := range []string{
		"net.ipv4.ip_unprivileged_port_start", "net.core.somaxconn", "fs.nr_open", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
	} {
		files[name] = strings.ReplaceAll(name, ".", "/")
	}
	for _, v := range l.opt.Spec.VIPs {
		link := l.opt.Spec.Interface(v, l.opt.Controller) // which may have a dot in its name
		files["net.ipv6.conf."+link+".disable_ipv6"] = "net/ipv6/conf/" + link + "/disable_ipv6"
	}
	l.facts.Sysctls = map[string]string{}
	for name, file := range files {
		if data, err := os.ReadFile(l.path("proc/sys/" + file)); err == nil {
			l.facts.Sysctls[name] = strings.Join(strings.Fields(string(data)), " ")
		}
	}
	l.facts.TrackedMax = l.number("proc/sys/net/netfilter/nf_conntrack_max")
	l.facts.Tracked = l.number("proc/sys/net/netfilter/nf_conntrack_count")
}

// number reads a file with one number; 0 where there is none.
func (l *looker) number(file string) int {
	n, err := strconv.Atoi(l.read(file))
	if err != nil {
		return 0
	}
	return n
}

func (l *looker) room(context.Context) {
	if f := strings.Fields(l.read("proc/sys/fs/file-nr")); len(f) == 3 {
		used, err := strconv.Atoi(f[0])
		most, err2 := strconv.Atoi(f[2])
		if err == nil && err2 == nil { // a limit that no int has is none
			l.facts.FilesUsed, l.facts.FilesMax = used, most
		}
	}
	for line := range strings.Lines(l.read("proc/meminfo")) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				l.facts.MemoryFree = kib << 10
			}
		}
	}
	// Before the first start the state directory is not there: then where it will be.
	var fs unix.Statfs_t
	for dir := l.opt.StateDir; dir != ""; dir = filepath.Dir(dir) {
		if unix.Statfs(dir, &fs) == nil {
			l.facts.Disk = append(l.facts.Disk, doctor.Disk{Dir: dir, Free: int64(fs.Bavail) * fs.Bsize, ReadOnly: fs.Flags&unix.ST_RDONLY != 0})
			return
		}
		if dir == filepath.Dir(dir) {
			return
		}
	}
}

// clock asks the kernel whether somebody keeps its time (adjtimex(2)).
func (l *looker) clock(context.Context) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return
	}
	l.facts.Synchronized = doctor.Yes
	if t.Status&unix.STA_UNSYNC != 0 {
		l.facts.Synchronized = doctor.No
	}
}

func (l *looker) haproxy(ctx context.Context) {
	h := &l.facts.HAProxy
	h.Path = l.opt.HAProxy
	path, err := exec.LookPath(l.opt.HAProxy)
	if err != nil && !strings.Contains(l.opt.HAProxy, "/") {
		path, err = exec.LookPath("/usr/sbin/" + l.opt.HAProxy) // where Debian has it, and only root's PATH leads
	}
	if err != nil {
		h.Err = "there is no such program"
		return
	}
	h.Path = path
	if h.Said, err = run(ctx, path, "-vv"); err != nil {
		h.Err = err.Error()
	}
	h.User = doctor.Yes
	if _, err = user.Lookup("haproxy"); err != nil {
		h.User = ""
		if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
			h.User = doctor.No
		}
	}
}

// programs asks systemd for what else could have the address or the ports.
func (l *looker) programs(ctx context.Context) {
	if !l.facts.Systemd || l.opt.Root != "" {
		return
	}
	is := func(what, name, word string) bool {
		said, _ := run(ctx, "systemctl", what, name+".service") // that it is not is an error, too
		return strings.TrimSpace(said) == word
	}
	for _, name := range []string{"haproxy", "keepalived", "pacemaker", "ucarp", "vrrpd"} {
		p := doctor.Program{Name: name, Enabled: is("is-enabled", name, "enabled"), Active: is("is-active", name, "active")}
		if p.Enabled || p.Active {
			l.facts.Programs = append(l.facts.Programs, p)
		}
	}
}

func (l *looker) selinux(context.Context) {
	l.facts.SELinux = l.read("sys/fs/selinux/enforce") == "1"
	if f := strings.Fields(l.read("sys/fs/selinux/booleans/haproxy_connect_any")); len(f) > 0 {
		l.facts.SELinuxAny = doctor.No
		if f[0] == "1" {
			l.facts.SELinuxAny = doctor.Yes
		}
	}
}

func (l *looker) certificates(context.Context) {
	for _, v := range l.opt.Spec.VIPs {
		all := v.Certificates()
		names := v.Hostnames()
		if len(all) > 1 {
			names = nil // which of them is for which name the agent knows
		}
		for _, files := range all {
			c := doctor.Certificate{VIP: v.Name, File: files.Certificate, Findings: l.certificate(files, names)}
			if len(c.Findings) > 0 {
				l.facts.Certificates = append(l.facts.Certificates, c)
			}
		}
	}
}

// certificate judges one, which is to be for all of names.
func (l *looker) certificate(files spec.CertificateFiles, names []string) []status.Finding {
	src := certificate.Source{File: files.Certificate, KeyFile: files.Key}
	var err error
	src.Data, err = readPEM(l.path(files.Certificate))
	if err == nil && files.Key != "" {
		src.Key, err = readPEM(l.path(files.Key))
	}
	switch {
	case errors.Is(err, os.ErrPermission) && !l.facts.Root:
		return nil // that is for root to see
	case err != nil:
		return []status.Finding{{Severity: status.Error, Code: status.CodeCertificateUnreadable, Text: err.Error(), Remedy: "put the certificate, its chain and its key there"}}
	}
	_, findings := certificate.Check(src, names, l.facts.Now)
	return findings
}

// readPEM reads a certificate or a key.
func readPEM(path string) ([]byte, error) {
	data, _, err := file.Read(path, certificate.MaxFile)
	if errors.Is(err, file.ErrNotRegular) {
		err = fmt.Errorf("%s is no regular file", path)
	}
	return data, err
}

// fernet looks for keys where Keystone is installed on this host. Containers have their own.
func (l *looker) fernet(context.Context) {
	if !l.facts.Systemd {
		return // a container, whose /etc may be that of another host
	}
	keys, err := os.ReadDir(l.path("etc/keystone/fernet-keys"))
	switch {
	case err != nil:
	case len(keys) == 0:
		l.facts.FernetKeys = doctor.No
	default:
		l.facts.FernetKeys = doctor.Yes
	}
}

// toAsk gives the addresses of the VIPs on an interface, and of the other controllers.
func (l *looker) toAsk(link string) []netip.Addr {
	var all []netip.Addr
	for _, v := range l.opt.Spec.VIPs {
		if l.opt.Spec.Interface(v, l.opt.Controller) == link {
			all = append(all, v.Addrs()...)
		}
	}
	for _, c := range l.opt.Spec.Others(l.opt.Controller.Name) {
		all = append(all, c.Address)
	}
	return all
}
