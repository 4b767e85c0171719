// Package process supervises the real HAProxy of one controller: it starts it
// detached, adopts the one that runs already, reloads it without losing a
// connection, knows of its death at once and of a hang within a third of a
// second, and has it changed without a reload where that can be.
//
// It leaves HAProxy running when it ends. It knows nothing of specs or VIPs:
// it gets a configuration, and tells the state of HAProxy. There must
// be one Manager for a run directory; the agent's lock sees to that.
package process
