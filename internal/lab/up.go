package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/lab/busy"
	"holdfast/internal/lab/openstack"
	"holdfast/internal/spec"
)

// stopGrace is how long a lab has to go down before it is killed.
const stopGrace = 10 * time.Second

// UpOptions is what a lab is made from.
type UpOptions struct {
	Name   string // DefaultName when empty
	File   string // the spec's name, for messages
	Data   []byte // the spec
	Binary string // that the lab runs as holdfast; this process's own when empty
	// Peer is the kind of peer that the controllers run in the place of an
	// agent; empty: an agent.
	Peer string
	// Programs is a directory in which programs can be run; with one, the nodes
	// run a copy of HAProxy in it, which UpgradeHAProxy can replace.
	Programs string
	// OpenStack names the services that are real ones instead of stand-ins.
	OpenStack []string
	// Workers is how many workers every stand-in has and how long each request
	// holds one, as "8x100ms"; empty: enough for all.
	Workers string
	// KeyFile is the file of the controllers' keys (holdfast key), which is copied; empty:
	// they have none.
	KeyFile string
	// Detach lets the lab outlive this process. Otherwise the kernel ends the
	// lab when this process ends, however that happens.
	Detach  bool
	Timeout time.Duration // until every service answers
	// Progress is told how far the lab is, a line at a time.
	Progress func(string)
}

// An OptionsError says what is wrong with options themselves, those of a lab or of
// what is measured in labs: they are no good on any machine.
type OptionsError struct{ Err error }

func (e *OptionsError) Error() string { return e.Err.Error() }

func (e *OptionsError) Unwrap() error { return e.Err }

// wrongf makes an OptionsError of what was asked for in a way that it cannot be done.
func wrongf(format string, args ...any) error {
	return &OptionsError{fmt.Errorf(format, args...)}
}

// A Lab is one that this process started.
type Lab struct {
	Dir  Dir
	cmd  *exec.Cmd
	done chan struct{} // closed when the server has ended
	lock *os.File
}

// Up starts a lab and returns when every service in it answers through the
// VIP; when that fails, nothing is left of it. Wrong options are an OptionsError.
func Up(ctx context.Context, opt UpOptions) (*Lab, error) {
	if opt.Name == "" {
		opt.Name = DefaultName
	}
	if err := checkMachine(&opt); err != nil {
		return nil, err
	}
	dir, lock, err := claim(opt.Name)
	if err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, done: make(chan struct{}), lock: lock}
	err = l.fill(opt)
	if err == nil {
		err = l.start(ctx, opt)
	}
	if err != nil {
		return nil, errors.Join(err, l.clear())
	}
	return l, nil
}

// checkMachine looks for what a lab needs and cannot make itself.
func checkMachine(opt *UpOptions) error {
	if opt.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the own binary: %w", err)
		}
		opt.Binary = self
	}
	if _, err := lookPath("haproxy", []string{"PATH=" + os.Getenv("PATH") + ":" + systemPath}, "/"); err != nil {
		return errors.New("haproxy is not installed; the lab runs the real one: apt-get install haproxy")
	}
	return nil
}

// fill puts into the lab's directory what its server reads.
func (l *Lab) fill(opt UpOptions) error {
	parsed, findings := spec.Parse(opt.File, opt.Data)
	if parsed == nil {
		return fmt.Errorf("%s is not a good spec: %v", opt.File, findings)
	}
	if _, err := newPlan(parsed); err != nil {
		return fmt.Errorf("%s: %w", opt.File, err)
	}
	if err := l.Dir.writeSetup(setup{opt.Peer, opt.Workers, opt.OpenStack}, parsed); err != nil {
		return err
	}
	data, err := l.Dir.ownCertificates(parsed, opt.Data, opt.Progress)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.Dir.specFile(), data, 0o644); err != nil {
		return fmt.Errorf("write the lab's spec: %w", err)
	}
	if opt.KeyFile != "" {
		keys, err := os.ReadFile(opt.KeyFile)
		if err != nil {
			return wrongf("read the file of keys: %w", err)
		}
		if err := os.WriteFile(l.Dir.keyFile(), keys, 0o600); err != nil {
			return fmt.Errorf("write the lab's file of keys: %w", err)
		}
	}
	if err := os.Symlink(opt.Binary, l.Dir.binary()); err != nil {
		return fmt.Errorf("give the lab its binary: %w", err)
	}
	if opt.Programs != "" {
		if _, err := UpgradeHAProxy(l.Dir, opt.Programs); err != nil {
			return err
		}
	}
	return nil
}

// A setup is what the lab's server is told beside the spec; UpOptions says what it
// means.
type setup struct {
	Peer      string   `json:"peer"`
	Workers   string   `json:"workers"`
	OpenStack []string `json:"openstack"`
}

func (d Dir) setupFile() string { return d.path("setup.json") }

// writeSetup tells the lab's server how the lab of s is to be.
func (d Dir) writeSetup(how setup, s *spec.Spec) error {
	if len(how.OpenStack) > 0 {
		if err := openstack.Check(how.OpenStack, s); err != nil {
			return &OptionsError{err}
		}
		if err := openstack.CheckPackages(how.OpenStack); err != nil {
			return err
		}
	}
	if how.Workers != "" {
		if _, _, err := busy.ParseWorkers(how.Workers); err != nil {
			return &OptionsError{err}
		}
	}
	data, err := json.Marshal(how)
	if err == nil {
		err = os.WriteFile(d.setupFile(), data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write how the lab is to be: %w", err)
	}
	return nil
}

// readSetup gives what writeSetup wrote.
func (d Dir) readSetup() (how setup, err error) {
	data, err := os.ReadFile(d.setupFile())
	if err == nil {
		err = json.Unmarshal(data, &how)
	}
	if err != nil {
		return how, fmt.Errorf("read how the lab is to be: %w", err)
	}
	return how, nil
}

// start starts the server and follows it until it is ready.
func (l *Lab) start(ctx context.Context, opt UpOptions) error {
	news, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	defer news.Close() //nolint:errcheck // only read
	err = l.startServer(opt, theirs)
	if err := errors.Join(err, theirs.Close()); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { news.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
	defer stop()
	err = l.follow(news, opt.Progress)
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted while the lab came up: %w", context.Cause(ctx))
	}
	if err != nil {
		err = errors.Join(err, l.end())
	}
	return err
}

// startServer starts the server in namespaces of its own: as root without a
// user namespace if that is allowed, else in one in which the user is root.
func (l *Lab) startServer(opt UpOptions, news *os.File) error {
	users := []bool{true}
	if os.Geteuid() == 0 {
		users = []bool{false, true}
	}
	var err error
	for _, own := range users {
		if err = l.tryServer(opt, news, own); !errors.Is(err, unix.EPERM) {
			break
		}
	}
	if err != nil {
		return namespaceError(err)
	}
	return nil
}

func (l *Lab) tryServer(opt UpOptions, news *os.File, ownUsers bool) error {
	log, err := os.OpenFile(l.Dir.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the lab's log: %w", err)
	}
	l.cmd = exec.Command("/proc/self/exe", "lab", "init", "--dir", string(l.Dir), "--timeout", opt.Timeout.String()) //nolint:noctx // it may outlive this process
	l.cmd.Args[0] = opt.Binary
	if self, err := os.Executable(); err != nil || self != opt.Binary {
		l.cmd.Path = opt.Binary
	}
	l.cmd.Dir = "/"
	l.cmd.Stdout, l.cmd.Stderr = log, log
	l.cmd.ExtraFiles = []*os.File{news, l.lock}
	l.cmd.SysProcAttr = serverAttr(ownUsers, opt.Detach)
	started := make(chan error)
	go l.babysit(started)
	err = <-started
	return errors.Join(err, log.Close())
}

// serverAttr asks for the server's namespaces, and for its death with ours.
func serverAttr(ownUsers, detach bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: nodeNamespaces, Setsid: true}
	if !detach {
		attr.Pdeathsig = unix.SIGKILL
	}
	if ownUsers {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// babysit starts the server and waits for its end on one thread: it is that
// thread whose death the kernel would tell the server by SIGKILL.
func (l *Lab) babysit(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := l.cmd.Start()
	started <- err
	if err == nil {
		_ = l.cmd.Wait() //nolint:errcheck // it said how it ended in its log
		close(l.done)
	}
}

// allowNamespaces is what to do where a user may not make namespaces, or may
// do nothing in them.
const allowNamespaces = "run the lab as root, outside of a container without privileges, or allow it: " +
	"sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"

// namespaceError says what to do when the kernel gives no namespaces.
func namespaceError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("this machine does not let user %d make namespaces (%w); %s", os.Geteuid(), err, allowNamespaces)
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS):
		return fmt.Errorf("this machine has no more namespaces to give (%w); raise sysctl user.max_user_namespaces and user.max_net_namespaces", err)
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("this kernel has no namespaces of the kind that the lab needs: %w", err)
	}
	return fmt.Errorf("start the lab: %w", err)
}

// follow tells the server's progress until it is ready.
func (l *Lab) follow(news *os.File, tell func(string)) error {
	messages := json.NewDecoder(news)
	for {
		var p progress
		if err := messages.Decode(&p); err != nil {
			return fmt.Errorf("the lab ended at its start; the end of its log:\n%s", tail(l.Dir.logFile()))
		}
		switch {
		case p.Ready:
			return nil
		case p.Error != "":
			return errors.New(p.Error)
		case tell != nil:
			tell(p.Text)
		}
	}
}

// Done is closed when the lab has ended.
func (l *Lab) Done() <-chan struct{} { return l.done }

// Close ends the lab and leaves nothing of it.
func (l *Lab) Close() error { return errors.Join(l.end(), l.clear()) }

// end asks the server to go, and kills it when it does not.
func (l *Lab) end() error {
	if err := l.cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the lab: %w", err)
	}
	select {
	case <-l.done:
		return nil
	case <-time.After(stopGrace):
	}
	if err := l.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the lab: %w", err)
	}
	<-l.done
	return nil
}

// clear removes the lab's directory and its lock.
func (l *Lab) clear() error {
	err := l.Dir.remove()
	return errors.Join(err, l.lock.Close())
}

// remove takes away the directory, and the base if no other lab needs it.
func (d Dir) remove() error {
	if err := os.RemoveAll(string(d)); err != nil {
		return fmt.Errorf("remove the lab's directory: %w", err)
	}
	if err := os.Remove(d.lockFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the lab's lock: %w", err)
	}
	_ = os.Remove(filepath.Dir(string(d))) //nolint:errcheck // another lab's directory may be in it
	return nil
}

// Release leaves a detached lab to itself.
func (l *Lab) Release() error { return l.lock.Close() }
