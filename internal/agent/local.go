package agent

import (
	"os"
	"os/user"
	"strings"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/process"
	"holdfast/internal/spec"
)

// haproxyUser is the account that the distributions' packages make.
const haproxyUser = "haproxy"

// local gives what of HAProxy's configuration is this host's own.
func (a *Agent) local(s *spec.Spec) haproxy.Local {
	l := haproxy.Local{RunDir: a.opt.RunDir, StateDir: a.opt.StateDir, CA: systemCA()}
	if err := canBecome(haproxyUser); err == "" {
		l.User, l.Group = haproxyUser, haproxyUser
	} else {
		a.log.Debug("HAProxy keeps the user of the agent", "reason", err)
	}
	files, err := process.NoFile()
	if err != nil {
		a.log.Warn("the limit of open files is not known", "error", err)
		return l
	}
	if files < haproxy.DefaultNoFile {
		l.MaxConn = haproxy.MaxConn(s, files)
		a.log.Warn("few open files are allowed, so few connections are; set LimitNOFILE= in the unit", "files", files, "maxconn", l.MaxConn)
	}
	return l
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

// canBecome says why a process started here cannot run as the user called
// name; "" when it can. In a user namespace with one user there are no others.
func canBecome(name string) string {
	if os.Geteuid() != 0 {
		return "the agent is not root"
	}
	if _, err := user.Lookup(name); err != nil {
		return err.Error()
	}
	if _, err := user.LookupGroup(name); err != nil {
		return err.Error()
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err.Error()
	}
	if fields := strings.Fields(string(ids)); len(fields) == 3 && fields[2] == "1" {
		return "a user namespace with one user"
	}
	return ""
}
