package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"holdfast/internal/lab/openstack"
	"holdfast/internal/spec"
)

// The descriptors that "lab up" hands to the server.
const (
	progressFD = 3 // where to tell how far the lab is
	lockFD     = 4 // held open as long as the lab runs
)

// A progress is one such message.
type progress struct {
	Text  string `json:"text,omitempty"`
	Ready bool   `json:"ready,omitempty"`
	Error string `json:"error,omitempty"`
}

// A server is the process that the whole lab hangs on.
type server struct {
	dir     Dir
	plan    *plan
	setup   setup
	nodes   []*node
	holder  *holderLog
	log     *slog.Logger
	started time.Time
	stop    context.CancelFunc
	wait    time.Duration    // until all services must answer
	real    *openstack.Cloud // nil: all services are stand-ins

	faulting sync.Mutex // held while a fault is done
	wire     lossyWire

	mu         sync.Mutex // guards following
	ready      bool
	partitions [][]string
}

// Serve is the life of the lab in d, as the first process of its namespaces.
// It ends with ctx or when it is told to, and takes everything with it.
func Serve(ctx context.Context, d Dir, wait time.Duration, log *slog.Logger) error {
	unix.CloseOnExec(progressFD)
	unix.CloseOnExec(lockFD)
	out := os.NewFile(progressFD, "progress")
	s := &server{dir: d, log: log, started: time.Now(), wait: wait, wire: newLossyWire()}
	tell := json.NewEncoder(out)
	err := s.run(ctx, func(p progress) {
		if err := tell.Encode(p); err != nil && !errors.Is(err, syscall.EPIPE) {
			log.Warn("tell how far the lab is", "error", err)
		}
	})
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w; %s", err, allowNamespaces)
	}
	if err != nil {
		err = errors.Join(err, tell.Encode(progress{Error: err.Error()}))
	}
	return errors.Join(err, out.Close())
}

func (s *server) run(ctx context.Context, tell func(progress)) error {
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	if err := s.prepare(); err != nil {
		return err
	}
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	serving.Go(func() { s.accept(ctx, listener) })
	err = s.up(ctx, tell)
	if err == nil {
		<-ctx.Done()
	}
	s.stop()
	err = errors.Join(err, s.down(), listener.Close())
	serving.Wait()
	return err
}

// prepare reads the spec and makes the namespaces ready for nodes.
func (s *server) prepare() error {
	data, err := os.ReadFile(s.dir.specFile())
	if err != nil {
		return fmt.Errorf("read the lab's spec: %w", err)
	}
	parsed, findings := spec.Parse(s.dir.specFile(), data)
	if parsed == nil {
		return fmt.Errorf("the lab's spec is bad: %v", findings)
	}
	if s.plan, err = newPlan(parsed); err != nil {
		return err
	}
	if err := mountProc(); err != nil {
		s.log.Warn("this lab cannot see its processes", "error", err)
	}
	if err := s.nameHosts(); err != nil {
		return err
	}
	if err := makeBridge(); err != nil {
		return err
	}
	s.holder, err = newHolderLog(parsed, s.dir.addressesFile(), s.log)
	if err != nil {
		return err
	}
	if s.setup, err = s.dir.readSetup(); err != nil {
		return err
	}
	for i, p := range s.plan.nodes {
		s.nodes = append(s.nodes, &node{
			plan: p, index: i + 1, dir: s.dir, log: s.log, holder: s.holder, peer: s.setup.Peer, workers: s.setup.Workers, wire: &s.wire, spec: parsed,
		})
	}
	return nil
}

// nameHosts puts the lab's names in the place of /etc/hosts, for all in the lab.
func (s *server) nameHosts() error {
	if err := unix.Sethostname([]byte("lab-" + s.dir.Name())); err != nil {
		return fmt.Errorf("name the host: %w", err)
	}
	if err := os.WriteFile(s.dir.hostsFile(), []byte(s.plan.hostsFile()), 0o644); err != nil {
		return fmt.Errorf("write the lab's hosts: %w", err)
	}
	if err := unix.Mount(s.dir.hostsFile(), "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("put the lab's names into /etc/hosts: %w", err)
	}
	return nil
}

// up switches every node on and waits until all services answer.
func (s *server) up(ctx context.Context, tell func(progress)) error {
	if err := s.each(func(n *node) error { return n.powerOn(ctx) }); err != nil {
		return err
	}
	tell(progress{Text: fmt.Sprintf("%d nodes on one wire: %s", len(s.nodes), strings.Join(s.nodeNames(), ", "))})
	if err := s.prepareOpenStack(ctx, tell); err != nil {
		return err
	}
	if err := s.each(func(n *node) error { return n.launch(ctx) }); err != nil {
		return err
	}
	tell(progress{Text: "services and agents started"})
	if err := s.awaitReady(ctx, tell); err != nil {
		return err
	}
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	tell(progress{Ready: true})
	return nil
}

func (s *server) each(do func(*node) error) error {
	var group errgroup.Group
	for _, n := range s.nodes {
		group.Go(func() error { return do(n) })
	}
	return group.Wait()
}

// down ends all that runs in the lab.
func (s *server) down() error {
	s.faulting.Lock()
	defer s.faulting.Unlock()
	return errors.Join(s.each((*node).powerOff), s.real.Close())
}

func (s *server) nodeNames() []string {
	var names []string
	for _, n := range s.nodes {
		names = append(names, n.plan.name)
	}
	return names
}

// node gives the node called name, or the holder of the first VIP.
func (s *server) node(name string) (*node, error) {
	if name == "" {
		return nil, wrongf("name a node; there are %s", strings.Join(s.nodeNames(), ", "))
	}
	if name == Holder && !slices.Contains(s.nodeNames(), Holder) {
		return s.holderNode()
	}
	i := slices.Index(s.nodeNames(), name)
	if i < 0 {
		return nil, wrongf("no node is called %q; there are %s", name, strings.Join(s.nodeNames(), ", "))
	}
	return s.nodes[i], nil
}

func (s *server) holderNode() (*node, error) {
	if len(s.holder.vips) == 0 {
		return nil, errors.New("the spec has no VIP that a node could hold")
	}
	holders := s.holder.holders(s.holder.vips[0])
	if len(holders) == 0 {
		return nil, fmt.Errorf("nobody holds %s at the moment", s.holder.vips[0])
	}
	return s.node(holders[len(holders)-1])
}

func (s *server) setPartition(sets [][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partitions = sets
}

func (s *server) listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", s.dir.socket())
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	return l, nil
}

// accept serves each connection until the listener is closed.
func (s *server) accept(ctx context.Context, l net.Listener) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Error("accept", "error", err)
			return
		}
		serving.Go(func() { s.answer(ctx, &wire{conn: conn.(*net.UnixConn)}) })
	}
}

// answer serves one connection; when ctx ends, it is cut.
func (s *server) answer(ctx context.Context, w *wire) {
	stop := context.AfterFunc(ctx, func() { w.conn.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
	defer stop()
	var req request
	err := w.receive(&req)
	if err == nil {
		err = w.send(s.handle(ctx, req, w))
	}
	if err != nil {
		s.log.Debug("a command went away", "op", req.Op, "error", err)
	}
	if err := w.close(); err != nil {
		s.log.Debug("close", "error", err)
	}
}

// handle does what req asks.
func (s *server) handle(ctx context.Context, req request, w *wire) reply {
	switch req.Op {
	case "ping":
		return reply{}
	case "status":
		return reply{Status: s.status()}
	case "down":
		s.stop()
		return reply{}
	case "fault":
		if req.Fault == nil {
			return reply{Error: "a request for a fault without one"}
		}
		f, err := s.inject(ctx, *req.Fault)
		if err != nil {
			return refuse(err)
		}
		return reply{Fault: &f}
	case "switch":
		if err := s.switchTo(ctx, req.Peer, req.Nodes); err != nil {
			return refuse(err)
		}
		return reply{}
	case "exec":
		if req.Exec == nil {
			return reply{Error: "a request to run a command without one"}
		}
		code, err := s.exec(*req.Exec, w)
		if err != nil {
			answer := refuse(err)
			answer.Exit = &code
			return answer
		}
		return reply{Exit: &code}
	}
	return reply{Error: fmt.Sprintf("this lab does not know %q; it was started by another version of holdfast", req.Op)}
}
