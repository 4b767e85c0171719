package rollout

import (
	"fmt"
	"os"
	"os/user"
	"strings"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const (
	// haproxyUser is the account that the distributions' packages make.
	haproxyUser = "haproxy"
	rootUser    = "root"
)

// A noUserError says that there is no user for HAProxy's workers to become. They
// are what reads everybody's requests, with all that the agent may do.
type noUserError struct{ user, why string }

func (e *noUserError) Error() string {
	return fmt.Sprintf("HAProxy's workers would run as root: there is no user %q to become (%s); make one, as the package of HAProxy does (useradd --system --no-create-home --shell /usr/sbin/nologin %[1]s), name another with --haproxy-user, or say --haproxy-user root to insist",
		e.user, e.why)
}

// local gives what of HAProxy's configuration is this host's own, or says why
// HAProxy must not run here.
func (r *Rollout) local(s *spec.Spec) (haproxy.Local, error) {
	l := haproxy.Local{RunDir: r.opt.RunDir, StateDir: r.opt.StateDir, CA: systemCA()}
	if c, ok := s.Controller(r.opt.Controller); ok {
		l.Address = c.Address
	}
	var err error
	if l.User, l.Group, err = userFor(r.opt.HAProxyUser, os.Geteuid(), onlyUser()); err != nil {
		return l, err
	}
	files, err := process.NoFile()
	if err != nil {
		r.log.Warn("the limit of open files is not known", "error", err)
		return l, nil
	}
	if files < haproxy.DefaultNoFile {
		l.MaxConn = haproxy.MaxConn(s, files)
		r.log.Warn("few open files are allowed, so few connections are; set LimitNOFILE= in the unit", "files", files, "maxconn", l.MaxConn)
	}
	return l, nil
}

// userFor gives the user and the group that HAProxy's workers become, where name is
// asked for and the agent is user euid: none where they stay what the agent is. Those of
// an agent that is not root are none either, nor where root is only the name of the one
// user that there is.
func userFor(name string, euid int, only bool) (account, group string, err error) {
	if euid != 0 || only || name == rootUser {
		return "", "", nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return "", "", &noUserError{name, err.Error()}
	}
	if u.Uid == "0" {
		return "", "", &noUserError{name, "that is root"}
	}
	if g, err := user.LookupGroup(name); err == nil {
		return name, g.Name, nil
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", "", &noUserError{name, err.Error()}
	}
	return name, g.Name, nil
}

// rootFinding says that HAProxy's workers run as root, which somebody has asked
// for; nil where they do not.
func rootFinding(name string, euid int, only bool) *status.Finding {
	if name != rootUser || euid != 0 || only {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodeHAProxyAsRoot, Subject: "haproxy",
		Text:   "HAProxy's workers, which read everybody's requests, run as root, as --haproxy-user root has it",
		Remedy: "make a user for them, and restart the agent with --haproxy-user NAME",
	}
}

// systemCA gives the file of the authorities that this host trusts; "" where
// it is in no place that is known.
func systemCA() string {
	for _, file := range []string{haproxy.SystemCA, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// onlyUser reports whether there is one user only, as in some user namespaces.
func onlyUser() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(ids))
	return len(fields) == 3 && fields[2] == "1"
}
