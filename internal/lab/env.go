package lab

import (
	"slices"
	"strings"
)

// systemPath is where HAProxy and the tools of the network are, also for users
// whose PATH lacks it.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// nodeEnv gives outer with bin put first in PATH, and the variables by which
// holdfast's commands find the spec and the sockets of the node's agent.
func nodeEnv(outer []string, bin, file, runDir string) []string {
	path := ""
	env := slices.DeleteFunc(slices.Clone(outer), func(v string) bool {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "PATH":
			path = value
			return true
		case "HOLDFAST_FILE", "HOLDFAST_RUN_DIR", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "GOMAXPROCS":
			return true
		}
		return false
	})
	path = strings.Trim(bin+":"+path+":"+systemPath, ":")
	return append(env, "PATH="+path, "HOLDFAST_FILE="+file, "HOLDFAST_RUN_DIR="+runDir)
}
