package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/lab/busy"
	"holdfast/internal/spec"
)

// busyFaultKinds gives the faults of a service that is well but has much to do,
// or stands still for a while. Each leaves connections to the service accepted,
// but for a graceful restart.
func busyFaultKinds() []FaultKind {
	const ofService = "NODE [SERVICE]"
	return []FaultKind{
		{Name: "graceful-restart", Args: ofService, Text: "close the listener, finish what is in flight however long it takes, and start again", onNode: gracefulRestart},
		{Name: "late", Args: "DURATION " + ofService, Text: "every answer takes DURATION, that to a health check too", onNode: behaves(late)},
		{Name: "busy", Args: "NxDURATION " + ofService, Text: "N workers, DURATION a request; the others wait in one queue, health checks too", onNode: behaves(work)},
		{Name: "service-stall", Args: "DURATION " + ofService, Text: "stand still for DURATION and go on: all is answered, late", onNode: serviceStall},
		{Name: "stall", Args: "DURATION [SERVICE]", Text: "all hosts of the service, or of all, stand still together for DURATION, as for a database", onLab: (*server).stall},
		{Name: "push-back", Args: "RATE " + ofService, Text: "answer 503 with Retry-After to what is over RATE requests a second, but to no health check", onNode: behaves(pushBack)},
		{Name: "closes", Args: ofService, Text: "close without an answer what has more than 4 KiB of headers, as uWSGI's small buffer does", onNode: behaves(closes)},
	}
}

// behaves makes a fault of what set does to the behaviour of the service that is
// named, or of all on the node that can.
func behaves(set func(*busy.Behaviour, string) (done string, err error)) func(context.Context, *node, Fault) (string, error) {
	return func(_ context.Context, n *node, f Fault) (string, error) {
		if _, err := set(&busy.Behaviour{}, f.Value); err != nil {
			return "", &OptionsError{err}
		}
		chosen, err := n.chosenServices(f.Service)
		if err != nil {
			return "", err
		}
		if f.Service == "" {
			chosen = slices.DeleteFunc(chosen, func(s *standin) bool { return s.wooden() != nil })
		}
		if len(chosen) == 0 {
			return "", fmt.Errorf("no stand-in of an http service runs on %s", n.plan.name)
		}
		done := ""
		var names []string
		for _, s := range chosen {
			b := s.behaviour
			done, err = set(&b, f.Value)
			if err := errors.Join(err, s.wooden()); err != nil {
				return "", err
			}
			if err := n.setBehaviour(s, b); err != nil {
				return "", err
			}
			names = append(names, s.at.service.Name)
		}
		return fmt.Sprintf("%s on %s %s", strings.Join(names, ", "), n.plan.name, done), nil
	}
}

func late(b *busy.Behaviour, value string) (string, error) {
	d, err := busy.ParseHold(value)
	b.Workers, b.Hold = 0, d
	return fmt.Sprintf("late: every answer takes %v", d), err
}

func work(b *busy.Behaviour, value string) (string, error) {
	var err error
	b.Workers, b.Hold, err = busy.ParseWorkers(value)
	return fmt.Sprintf("busy: %d workers, %v a request", b.Workers, b.Hold), err
}

func pushBack(b *busy.Behaviour, value string) (string, error) {
	rate, err := busy.ParseRate(value)
	b.Limited, b.Rate = true, rate
	return fmt.Sprintf("pushing back: 503 over %g requests a second", rate), err
}

func closes(b *busy.Behaviour, _ string) (string, error) {
	b.Closes = true
	return fmt.Sprintf("closing connections with headers over %d bytes", busy.MaxHeaders), nil
}

// wooden says why s cannot be told how to behave; nil when it can.
func (s *standin) wooden() error {
	switch {
	case s.real:
		return fmt.Errorf("%s is a real service; only a stand-in can be told that", s.at.service.Name)
	case s.at.service.Mode != spec.HTTP:
		return fmt.Errorf("%s speaks no HTTP; only a stand-in that does can be told that", s.at.service.Name)
	}
	return nil
}

// setBehaviour tells s how to behave; the next request finds it so.
func (n *node) setBehaviour(s *standin, b busy.Behaviour) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return s.behave(b)
}

// behave is setBehaviour for who has the node's lock. The zero Behaviour is that
// of the start.
func (s *standin) behave(b busy.Behaviour) error {
	s.behaviour = b
	if b != (busy.Behaviour{}) {
		return b.WriteFile(s.behaviourFile)
	}
	if err := os.Remove(s.behaviourFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("tell service %s to behave: %w", s.at.service.Name, err)
	}
	return nil
}

func parseStall(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > time.Hour {
		return 0, wrongf("%q is not a time up to an hour; write one such as 3s", text)
	}
	return d, nil
}

// serviceStall stops services of a node for a while.
func serviceStall(_ context.Context, n *node, f Fault) (string, error) {
	d, err := parseStall(f.Value)
	if err != nil {
		return "", err
	}
	end := time.Now().Add(d)
	return n.overServices(f, fmt.Sprintf("stalled for %v", d), func(s *standin) error { return n.stallService(s, end) })
}

// stall stops a service everywhere, or all services, for the same while.
func (s *server) stall(f *Fault) (string, error) {
	d, err := parseStall(f.Value)
	if err != nil {
		return "", err
	}
	end, hosts := time.Now().Add(d), 0
	for _, n := range s.nodes {
		n.mu.Lock()
		services := slices.Clone(n.services)
		n.mu.Unlock()
		for _, svc := range services {
			if f.Service == "" || svc.at.service.Name == f.Service {
				hosts++
				err = errors.Join(err, n.stallService(svc, end))
			}
		}
	}
	if hosts == 0 {
		return "", wrongf("no service %q runs in this lab", f.Service)
	}
	what := f.Service
	if what == "" {
		what = "every service"
	}
	return fmt.Sprintf("%s stalled on all hosts for %v", what, d), err
}

// stallService stops the process of s until end.
func (n *node) stallService(s *standin, end time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.endStall()
	p := s.proc
	if err := p.signal(unix.SIGSTOP); err != nil {
		return err
	}
	s.stall = time.AfterFunc(time.Until(end), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if s.stall == nil || s.proc != p {
			return // something else was done to it
		}
		s.stall = nil
		if err := p.signal(unix.SIGCONT); err != nil {
			n.log.Warn("end a stall", "service", s.at.service.Name, "error", err)
		}
	})
	return nil
}

// endStall leaves it to the caller how s goes on.
func (s *standin) endStall() {
	if s.stall != nil {
		s.stall.Stop()
		s.stall = nil
	}
}

// leaveAlone ends what would be done to s later, and gives its process.
func (n *node) leaveAlone(s *standin) *proc {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.endStall()
	s.finishing = nil
	return s.proc
}

// gracefulRestart asks services to finish what they have, and starts each again
// when it has ended, which may be long after this has returned.
func gracefulRestart(_ context.Context, n *node, f Fault) (string, error) {
	return n.overServices(f, "finishing, to be started again", n.restartGracefully)
}

func (n *node) restartGracefully(s *standin) error {
	if s.real {
		return fmt.Errorf("%s is a real service; only a stand-in restarts gracefully here", s.at.service.Name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.box == nil {
		return n.offError()
	}
	s.endStall()
	p := s.proc
	s.finishing = p
	if err := errors.Join(p.signal(unix.SIGCONT), p.signal(unix.SIGWINCH)); err != nil {
		return err
	}
	go n.startFinished(s, p)
	return nil
}

// startFinished starts s again when p has ended, unless something else was done
// to it or to the node.
func (n *node) startFinished(s *standin, p *proc) {
	<-p.done
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.finishing != p || !slices.Contains(n.services, s) {
		return
	}
	s.finishing = nil
	if err := n.startService(s); err != nil {
		n.log.Error("start again", "error", err)
	}
}
