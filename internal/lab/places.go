package lab

import "path/filepath"

// ServiceLog is the file to which service writes on node, whatever it is that
// plays it.
func (d Dir) ServiceLog(node, service string) string {
	return d.path("nodes", node, service+".log")
}

// AgentLog is the file to which the agent of controller writes, a JSON object a line.
func (d Dir) AgentLog(controller string) string { return d.agentLog(controller) }

// RuntimeSocket is that of the HAProxy of the index-th controller of the spec, from 0
// on, called controller: an agent's and a peer's.
func (d Dir) RuntimeSocket(index int, controller string) string {
	return filepath.Join(d.runDir(index+1, controller), "haproxy.sock")
}
