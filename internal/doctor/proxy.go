package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/spec"
)

const haproxyWanted = "2.4"

// A bug is one of HAProxy that holdfast's users meet, from one release on until another.
// Releases of distributions ("2.6.12-1+deb12u3") have repairs that their number does not show,
// so only those of haproxy.org are judged by it, but for hashing, which nobody repairs so.
type bug struct {
	from, until string // until is the first without it
	text        string
	everywhere  bool // in releases of distributions, too
}

func bugs() []bug {
	const hash = "clients are sent to other hosts than by all other releases: controllers that have different ones do not agree"
	return []bug{
		{"3.0", "3.0.13", hash, true},
		{"3.2", "3.2.7", hash, true},
		{"2.4", "2.4.22", "CVE-2023-25725: a header without a name hides those after it, so a request can be smuggled past", false},
		{"2.6", "2.6.9", "CVE-2023-25725: a header without a name hides those after it, so a request can be smuggled past", false},
		{"2.4", "2.4.24", "CVE-2023-40225: an empty Content-Length is passed on", false},
		{"2.6", "2.6.15", "CVE-2023-40225: an empty Content-Length is passed on", false},
		{"2.8", "2.8.2", "CVE-2023-40225: an empty Content-Length is passed on", false},
		{"3.0.22", "3.0.23", "consoles over HTTP/2 (WebSocket) break in some browsers", false},
		{"3.2.18", "3.2.19", "consoles over HTTP/2 (WebSocket) break in some browsers", false},
	}
}

var (
	saysVersion = regexp.MustCompile(`(?m)^HA-?Proxy version (\S+)`)
	saysEnd     = regexp.MustCompile(`will stop receiving fixes around Q([1-4]) (\d{4})`)
	saysBuilt   = regexp.MustCompile(`(?m)^Built with OpenSSL version : (.*)$`)
	saysRuns    = regexp.MustCompile(`(?m)^Running on OpenSSL version : (.*)$`)
)

func first(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return strings.TrimSpace(m[1])
	}
	return ""
}

// install gives the command that brings another HAProxy.
const install = "apt-get install --only-upgrade haproxy && systemctl reload holdfast"

func proxy(r *report, f Facts) {
	h := f.HAProxy
	if h.Err != "" {
		r.error(Finding{
			Code: CodeHAProxyMissing, Subject: "HAProxy", Text: "it cannot be run", Evidence: h.Path + " -vv: " + h.Err,
			Remedy: "install HAProxy " + haproxyWanted + " or later, or name it with --haproxy", Command: "apt-get install haproxy && systemctl disable --now haproxy",
		})
		return
	}
	if h.User == No {
		r.error(Finding{
			Code: CodeHAProxyUser, Subject: "HAProxy", Text: "there is no user haproxy, which its workers are to become", Evidence: "getent passwd haproxy: nothing",
			Remedy: "make one; HAProxy's package does", Command: "useradd --system --home-dir /var/lib/haproxy --shell /usr/sbin/nologin haproxy",
		})
	}
	version := first(saysVersion, h.Said)
	if version == "" {
		return
	}
	evidence := h.Path + " -vv: HAProxy version " + version
	if older(version, haproxyWanted) {
		r.error(Finding{
			Code: CodeHAProxyOld, Subject: "HAProxy", Text: "HAProxy " + version + " is too old", Evidence: evidence, Remedy: "install " + haproxyWanted + " or later", Command: install,
		})
		return
	}
	repaired := strings.ContainsAny(version, "-+~") && !strings.Contains(version, "-dev")
	for _, b := range bugs() {
		sameBranch := slices.Equal(numbers(version)[:min(2, len(numbers(version)))], numbers(b.from)[:2])
		if sameBranch && !older(version, b.from) && older(version, b.until) && (b.everywhere || !repaired) {
			r.warning(Finding{
				Code: CodeHAProxyBug, Subject: "HAProxy", Text: "HAProxy " + version + " has a known bug: " + b.text, Evidence: evidence,
				Remedy: "install " + b.until + " or later, on one controller after the other", Command: install,
			})
		}
	}
	ended(r, f, version)
	withTLS(r, f)
}

// ended says that nobody repairs this branch any more.
func ended(r *report, f Facts, version string) {
	m := saysEnd.FindStringSubmatch(f.HAProxy.Said)
	if m == nil {
		return
	}
	quarter, _ := strconv.Atoi(m[1])
	year, _ := strconv.Atoi(m[2])
	end := time.Date(year, time.Month(3*quarter+1), 1, 0, 0, 0, 0, time.UTC)
	if f.Now.After(end) {
		r.warning(Finding{
			Code: CodeHAProxyEnded, Subject: "HAProxy", Text: "nobody repairs this branch of HAProxy any more, " + version, Evidence: m[0],
			Remedy: "install one of a newer branch, on one controller after the other", Command: install,
		})
	}
}

func withTLS(r *report, f Facts) {
	needs := slices.ContainsFunc(f.Spec.VIPs, func(v spec.VIP) bool { return v.TLS != nil }) ||
		slices.ContainsFunc(f.Spec.Services, func(s spec.Service) bool { return s.TLS.Mode != spec.PlainHosts })
	built, runs := first(saysBuilt, f.HAProxy.Said), first(saysRuns, f.HAProxy.Said)
	if needs && built == "" && !strings.Contains(f.HAProxy.Said, "+OPENSSL") && strings.Contains(f.HAProxy.Said, "OPENSSL") {
		r.error(Finding{
			Code: CodeHAProxyNoTLS, Subject: "HAProxy", Text: "it is built without TLS, and the spec asks for it", Evidence: "haproxy -vv: -OPENSSL", Remedy: "install one with OpenSSL", Command: install,
		})
	}
	// OpenSSL keeps its ABI within one major version only.
	if b, now := major(built), major(runs); b != "" && now != "" && b != now {
		r.error(Finding{
			Code: CodeHAProxyLibrary, Subject: "HAProxy", Text: "it runs with another OpenSSL than it was built for", Evidence: "built with " + built + ", running on " + runs,
			Remedy: "install HAProxy of the same distribution as the library", Command: "ldd " + f.HAProxy.Path + " | grep ssl",
		})
	}
}

// major gives "3" of "OpenSSL 3.0.15 3 Sep 2024".
func major(library string) string {
	words := strings.Fields(library)
	if len(words) < 2 {
		return ""
	}
	before, _, _ := strings.Cut(words[1], ".")
	return before
}

// programs judges what else wants the VIP's address or its ports, at this boot or the next.
func programs(r *report, f Facts) {
	for _, p := range f.Programs {
		evidence := fmt.Sprintf("systemctl: %s.service enabled %v, active %v", p.Name, p.Enabled, p.Active)
		// What runs may serve the cloud this moment: whether it may end, a person says.
		severity, command := r.warning, "systemctl disable "+p.Name
		if p.Active {
			severity, command = r.error, "systemctl status "+p.Name+"; ip -brief address; ss -Hltnp | grep "+p.Name
		}
		switch {
		case !p.Active && !p.Enabled:
		case p.Name == "haproxy":
			severity(Finding{
				Code: CodeHAProxyUnit, Subject: "haproxy.service", Text: "the distribution's own HAProxy runs, or starts at boot, and can have the ports that the agent's is to have",
				Evidence: evidence, Remedy: "disable it, when nobody uses it any more (systemctl disable --now haproxy)", Command: command,
			})
		default:
			severity(Finding{
				Code: CodeOtherManager, Subject: p.Name + ".service", Text: p.Name + " runs, or starts at boot, and may move the same address", Evidence: evidence,
				Remedy: "take the address out of its configuration, or disable it; docs/runbooks/keepalived.md moves a cloud over", Command: command,
			})
		}
	}
	if f.SELinux && f.SELinuxAny == No {
		r.error(Finding{
			Code: CodeSELinux, Subject: "SELinux", Text: "it keeps HAProxy from ports that it does not know", Evidence: "enforcing, and haproxy_connect_any is off",
			Remedy: "let it have them", Command: "setsebool -P haproxy_connect_any 1",
		})
	}
}

func certificates(r *report, f Facts) {
	for _, c := range f.Certificates {
		for _, g := range c.Findings {
			remedy := g.Remedy
			if remedy == "" {
				remedy = "see docs/troubleshooting.md#" + g.Code
			}
			r.add(g.Severity, Finding{
				Code: CodeCertificate, Subject: "vip " + c.VIP, Text: g.Text, Evidence: c.File + " (" + g.Code + ")", Remedy: remedy,
				Command: "openssl x509 -noout -subject -issuer -dates -ext subjectAltName -in " + c.File,
			})
		}
	}
}

func keystone(r *report, f Facts) {
	for _, k := range f.Keystone {
		if k.Err != "" || k.Code >= 500 {
			evidence := k.URL + ": " + k.Err
			if k.Err == "" {
				evidence = fmt.Sprintf("%s: %d", k.URL, k.Code)
			}
			r.warning(Finding{
				Code: CodeKeystone, Subject: "keystone on " + k.Name, Text: "it does not answer", Evidence: evidence,
				Remedy: "start it there, and see its log", Command: "curl -i " + k.URL,
			})
			continue
		}
		if k.Date.IsZero() {
			continue
		}
		// Its time has whole seconds.
		if off := k.At.Sub(k.Date); off > 3*time.Second || off < -2*time.Second {
			r.warning(Finding{
				Code: CodeClockOff, Subject: "keystone on " + k.Name, Text: fmt.Sprintf("its clock and this host's differ by some %d seconds", int(off.Abs().Seconds())),
				Evidence: fmt.Sprintf("%s: Date: %s, at %s here", k.URL, k.Date.UTC().Format(time.RFC3339), k.At.UTC().Format(time.RFC3339)),
				Remedy:   "have both keep the time by NTP: a token is valid by the clock of who checks it", Command: "chronyc tracking || timedatectl timesync-status",
			})
		}
	}
	if f.FernetKeys == No {
		r.warning(Finding{
			Code: CodeFernet, Subject: "keystone on " + f.Controller.Name, Text: "it has no fernet keys: tokens that another controller gave are refused here",
			Evidence: "/etc/keystone/fernet-keys is empty", Remedy: "copy those of the other controllers", Command: "rsync -a OTHER:/etc/keystone/fernet-keys/ /etc/keystone/fernet-keys/ && systemctl restart apache2",
		})
	}
}

// ttlWanted is how long a resolver may keep the hostname.
const ttlWanted = time.Hour

func names(r *report, f Facts) {
	for _, n := range f.Names {
		subject := "name " + n.Hostname
		switch wrong := slices.ContainsFunc(n.Addresses, func(a addr) bool { return !slices.Contains(n.Want, a) }); {
		case n.Err != "":
			r.warning(Finding{
				Code: CodeNameUnknown, Subject: subject, Text: "it cannot be resolved here", Evidence: n.Err,
				Remedy: "put it into DNS before the catalog has it", Command: "holdfast dns plan && holdfast dns apply",
			})
		case wrong:
			r.warning(Finding{
				Code: CodeNameElsewhere, Subject: subject, Text: "it leads elsewhere than to the VIP", Evidence: fmt.Sprintf("it resolves to %s, and the VIP has %s", addresses(n.Addresses), addresses(n.Want)),
				Remedy: "correct it before the catalog has it", Command: "holdfast dns plan && holdfast dns apply",
			})
		}
		if n.TTL > ttlWanted {
			r.warning(Finding{
				Code: CodeNameTTL, Subject: subject, Text: "resolvers keep it for long, should the VIP ever change", Evidence: "TTL " + n.TTL.String(),
				Remedy: "give it one of 5 minutes", Command: "holdfast dns plan && holdfast dns apply",
			})
		}
		for _, s := range n.SilentResolvers {
			r.warning(Finding{
				Code: CodeResolverSilent, Subject: "resolver " + s, Text: "it does not answer, and each look-up waits for it", Evidence: "/etc/resolv.conf names it; asked for " + n.Hostname + ", nothing came within 2 s",
				Remedy: "mend it, or take it out", Command: "dig @" + s + " " + n.Hostname,
			})
		}
	}
}
