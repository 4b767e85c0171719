// Package lab builds the cloud of a spec on this one machine, for trying and
// for proving: every controller, every other host of a service and a client is
// a node with namespaces of its own (network, processes, mounts, host name),
// all on one bridge. In each controller run the shipped binary as the agent,
// with a real HAProxy; the services behind it are stand-ins. Faults are
// injected from outside the nodes, as the world does it.
//
// The whole lab hangs on one process, the first of a PID namespace: when that
// ends, however it ends, the kernel ends all that was in it, and no namespace
// has a name that could stay behind.
//
// It is not a simulation, and no part of production: it imports nothing of the
// agent, and what it starts is what an operator starts.
package lab
