package web

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// callerKey is the key of the caller in a request's context.
type callerKey struct{}

// Caller names the user who asks on the control socket, in the context of a command: "root",
// or "root for alice" where alice has logged in and become root. "" where it is not known.
func Caller(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}

// maxBy is the longest name of who asks that is taken from another agent, in bytes.
const maxBy = 100

// CalledBy gives who asks, in the word of the agent of the controller from; "" where it
// says nothing, as one of an earlier release.
func CalledBy(by, from string) string {
	if len(by) > maxBy {
		return SomebodyOn(from)
	}
	return by
}

// SomebodyOn names one of whom only the controller is known.
func SomebodyOn(controller string) string { return "somebody on " + controller }

// withCaller has the context of each request on conn tell who asks: the kernel says
// which process connected (SO_PEERCRED, unix(7)).
func withCaller(ctx context.Context, conn net.Conn) context.Context {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || failed != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, callerOf(peer, loginOf(peer.Pid)))
}

// callerOf names a user, and the one who logged in where that is another.
func callerOf(peer *unix.Ucred, login uint32) string {
	name := userName(peer.Uid)
	if login != math.MaxUint32 && login != peer.Uid {
		name += " for " + userName(login)
	}
	return name
}

// loginOf gives the user as whom the session of a process was begun (proc(5), loginuid),
// whatever sudo has made of it since; MaxUint32 where it is of none.
func loginOf(pid int32) uint32 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if err != nil {
		return math.MaxUint32
	}
	uid, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 32)
	if err != nil {
		return math.MaxUint32
	}
	return uint32(uid)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
