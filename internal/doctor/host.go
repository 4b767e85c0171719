package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kernelWanted is the oldest kernel that holdfast is for.
const kernelWanted = "5.10"

func rights(r *report, f Facts) {
	if !f.Root {
		r.info(Finding{
			Code: CodeNotRoot, Subject: "doctor", Text: "it runs without root's rights, and could not look at all",
			Evidence: "whose a port is, who has an address and which routers are heard is not known",
			Remedy:   "run it as root", Command: "sudo holdfast doctor",
		})
	}
}

func kernel(r *report, f Facts) {
	if f.Kernel != "" && older(f.Kernel, kernelWanted) {
		r.error(Finding{
			Code: CodeKernelOld, Subject: "kernel", Text: "Linux " + f.Kernel + " is too old",
			Evidence: "uname -r: " + f.Kernel, Remedy: "use Linux " + kernelWanted + " or later; it counts from the next boot on, when this controller is drained", Command: "apt-get install --only-upgrade linux-image-amd64",
		})
	}
}

// older reports whether version a is before b; both begin with numbers and dots.
func older(a, b string) bool {
	x, y := numbers(a), numbers(b)
	return slices.Compare(x, y[:min(len(y), max(len(x), len(y)))]) < 0
}

// numbers gives the numbers that a version begins with: "3.0.11-1+deb13u2" has 3, 0, 11.
func numbers(version string) []int {
	var all []int
	for part := range strings.SplitSeq(version, ".") {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		all = append(all, n)
		if digits != part {
			break
		}
	}
	return all
}

// sysctlCommand sets a kernel parameter now and at each boot.
func sysctlCommand(name, value string) string {
	return fmt.Sprintf("echo '%s = %s' >> /etc/sysctl.d/60-holdfast.conf && sysctl -p /etc/sysctl.d/60-holdfast.conf", name, value)
}

const (
	wantedBacklog = 1024
	wantedFiles   = 1 << 20 // LimitNOFILE of the unit
)

func sysctls(r *report, f Facts) {
	number := func(name string) (int, bool) {
		n, err := strconv.Atoi(f.Sysctls[name])
		return n, err == nil
	}
	said := func(name string) string { return name + " = " + f.Sysctls[name] }
	const unprivileged, backlog, files = "net.ipv4.ip_unprivileged_port_start", "net.core.somaxconn", "fs.nr_open"
	if n, known := number(unprivileged); known && n < 1024 {
		r.warning(Finding{
			Code: CodeUnprivilegedPorts, Subject: unprivileged, Text: fmt.Sprintf("every user may listen on ports from %d on", n),
			Evidence: said(unprivileged), Remedy: "a port below 1024 then proves nothing of who asks: set it back, or give the controllers a key (holdfast key)",
			Command: sysctlCommand(unprivileged, "1024"),
		})
	}
	if n, known := number(backlog); known && n < wantedBacklog {
		r.warning(Finding{
			Code: CodeBacklog, Subject: backlog, Text: fmt.Sprintf("only %d new connections may wait at a listener", n),
			Evidence: said(backlog), Remedy: "with more clients at once, as after a move, some wait for a second: allow more", Command: sysctlCommand(backlog, "4096"),
		})
	}
	if n, known := number(files); known && n < wantedFiles {
		r.error(Finding{
			Code: CodeFilesPerProcess, Subject: files, Text: fmt.Sprintf("a process may have %d files at most, and the unit asks for %d", n, wantedFiles),
			Evidence: said(files), Remedy: "the unit does not start: allow as many", Command: sysctlCommand(files, strconv.Itoa(wantedFiles)),
		})
	}
	ephemeral(r, f)
	ipv6(r, f)
}

// ephemeral looks for ports that an outgoing connection could take from HAProxy or a service.
func ephemeral(r *report, f Facts) {
	const name, reserved = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"
	var low, high int
	if n, err := fmt.Sscan(f.Sysctls[name], &low, &high); n != 2 || err != nil {
		return
	}
	var within []string
	for _, p := range portsOf(f) {
		if p >= low && p <= high && !inList(f.Sysctls[reserved], p) {
			within = append(within, strconv.Itoa(p))
		}
	}
	if len(within) > 0 {
		r.warning(Finding{
			Code: CodeEphemeralPorts, Subject: name, Text: "an outgoing connection of this host can take a port that a service, HAProxy or the agent is to listen on",
			Evidence: fmt.Sprintf("%s = %d %d, and ports %s are used", name, low, high, strings.Join(within, ", ")),
			// The parameter is the whole list: what is reserved already stays so.
			Remedy: "reserve these ports", Command: sysctlCommand(reserved, strings.Join(slices.DeleteFunc(append([]string{f.Sysctls[reserved]}, within...), func(p string) bool { return p == "" }), ",")),
		})
	}
}

// portsOf gives the ports that something of holdfast or of the spec listens on here, sorted.
func portsOf(f Facts) []int {
	all := []int{f.Spec.Agent.Port, f.Spec.Agent.CheckPort}
	for _, s := range f.Spec.Services {
		all = append(all, s.Port)
		if s.HostPort != 0 {
			all = append(all, s.HostPort)
		}
	}
	for _, v := range f.Spec.VIPs {
		for _, p := range wanted(f.Spec, v) {
			all = append(all, p.port)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// inList reports whether a list like "5000,9400-9499" has n.
func inList(list string, n int) bool {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		low, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		high := low
		if isRange {
			high, _ = strconv.Atoi(to)
		}
		if n >= low && n <= high {
			return true
		}
	}
	return false
}

// ipv6 looks whether the family is there for VIPs that need it.
func ipv6(r *report, f Facts) {
	for _, v := range f.Spec.VIPs {
		link := f.Spec.Interface(v, f.Controller)
		name := "net.ipv6.conf." + link + ".disable_ipv6"
		needs := slices.ContainsFunc(v.Addrs(), func(a addr) bool { return a.Is6() })
		if needs && f.Sysctls[name] == "1" {
			r.error(Finding{
				Code: CodeIPv6Off, Subject: "vip " + v.Name, Text: "IPv6 is switched off on " + link + ", where it is to have an IPv6 address",
				Evidence: name + " = 1", Remedy: "switch it on", Command: sysctlCommand("net/ipv6/conf/"+link+"/disable_ipv6", "0"), // sysctl takes a "." in a name for a "/"
			})
		}
	}
}

const (
	trackedWanted = 65536
	trackedFull   = 80 // percent
)

func tracking(r *report, f Facts) {
	const name = "net.netfilter.nf_conntrack_max"
	evidence := fmt.Sprintf("net.netfilter.nf_conntrack_count = %d, %s = %d", f.Tracked, name, f.TrackedMax)
	switch {
	case f.TrackedMax == 0:
	case f.Tracked*100 >= f.TrackedMax*trackedFull:
		r.error(Finding{
			Code: CodeTrackingFull, Subject: "conntrack", Text: fmt.Sprintf("the table of connections is full to %d %%: soon new ones, checks and adverts are dropped", f.Tracked*100/f.TrackedMax),
			Evidence: evidence, Remedy: "allow more entries", Command: sysctlCommand(name, strconv.Itoa(max(4*f.TrackedMax, 262144))),
		})
	case f.TrackedMax < trackedWanted:
		r.warning(Finding{
			Code: CodeTrackingSmall, Subject: "conntrack", Text: fmt.Sprintf("the table of connections has room for %d only: one controller that carries all clients can fill it", f.TrackedMax),
			Evidence: evidence, Remedy: "allow more entries", Command: sysctlCommand(name, "262144"),
		})
	}
}

const (
	filesFull  = 80 // percent
	memoryLeft = 256 << 20
	diskLeft   = 64 << 20
)

func room(r *report, f Facts) {
	if f.FilesMax > 0 && f.FilesUsed*100 >= f.FilesMax*filesFull {
		r.error(Finding{
			Code: CodeFilesUsed, Subject: "fs.file-max", Text: "this host has nearly as many open files as it may",
			Evidence: fmt.Sprintf("/proc/sys/fs/file-nr: %d of %d", f.FilesUsed, f.FilesMax), Remedy: "allow more, and look who has them", Command: sysctlCommand("fs.file-max", strconv.Itoa(4*f.FilesMax)),
		})
	}
	if f.MemoryFree > 0 && f.MemoryFree < memoryLeft {
		r.warning(Finding{
			Code: CodeMemory, Subject: "memory", Text: "there is little memory for HAProxy to carry all clients alone",
			Evidence: fmt.Sprintf("/proc/meminfo: MemAvailable %d MiB", f.MemoryFree>>20), Remedy: "see what takes it, or add some", Command: "ps -eo rss,pid,comm --sort=-rss | head",
		})
	}
	for _, d := range f.Disk {
		if !d.ReadOnly && d.Free >= diskLeft {
			continue
		}
		text := fmt.Sprintf("there are %d MiB left where %s is", d.Free>>20, d.Dir)
		if d.ReadOnly {
			text = "nothing can be written to " + d.Dir
		}
		r.error(Finding{
			Code: CodeDisk, Subject: d.Dir, Text: text, Evidence: fmt.Sprintf("statfs %s: %d octets free, read-only: %v", d.Dir, d.Free, d.ReadOnly),
			Remedy: "make room, or mount it read-write: a spec, the journal and a drain are kept there", Command: "df -h " + d.Dir + "; du -xh " + d.Dir + " | sort -h | tail",
		})
	}
}
