package drain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// signTimeout is how long an agent may take to say that it lives: no work goes
// with that.
const signTimeout = 4 * time.Second

// lookAround asks all controllers how they are, now: what was said a second ago
// may lack what another one is about to drain. unseen has, in words, those that do
// not say how they are and yet live: each may be about to drain the same. One
// of which nothing is left drains nothing; its hosts are down as others see them.
func (d *Drains) lookAround(ctx context.Context, s *spec.Spec) (all []seen, unseen []string) {
	own := d.opt.Snapshot()
	all = []seen{seenBy(d.opt.Controller, &own)}
	var silent []cloud.Answer
	for _, answer := range d.askTwice(ctx, s) {
		if answer.Snapshot != nil {
			all = append(all, seenBy(answer.Name, answer.Snapshot))
		} else {
			silent = append(silent, answer)
		}
	}
	signs := make([]string, len(silent))
	var asked sync.WaitGroup
	for i, answer := range silent {
		asked.Go(func() { signs[i] = d.signOfLife(ctx, s, answer.Name, &own) })
	}
	asked.Wait()
	for i, answer := range silent {
		if signs[i] != "" {
			unseen = append(unseen, fmt.Sprintf("what %s drains is not known: its page at %s does not say (%s), but %s lives, as %s",
				answer.Name, answer.Address, answer.Error, answer.Name, signs[i]))
		}
	}
	return all, unseen
}

// askTwice asks all other controllers, and once more those that do not answer: one
// lost packet takes as long as an answer may.
func (d *Drains) askTwice(ctx context.Context, s *spec.Spec) []cloud.Answer {
	answers := d.opt.Gather(ctx, s.OtherNames(d.opt.Controller))
	var again []string
	for _, answer := range answers {
		if answer.Snapshot == nil {
			again = append(again, answer.Name)
		}
	}
	if len(again) == 0 {
		return answers
	}
	for _, second := range d.opt.Gather(ctx, again) {
		i := slices.IndexFunc(answers, func(first cloud.Answer) bool { return first.Name == second.Name })
		answers[i] = second
	}
	return answers
}

func seenBy(controller string, s *status.Snapshot) seen {
	one := seen{controller: controller, drains: s.Drains, vips: s.VIPs}
	if s.HAProxy.State == status.HAProxyRunning {
		one.services = s.Services
	}
	return one
}

// signOfLife gives what shows that the controller lives, whose page does not
// answer: "it holds vip api". "" when nothing does, or when its host says that no
// agent is there.
func (d *Drains) signOfLife(ctx context.Context, s *spec.Spec, controller string, own *status.Snapshot) string {
	for _, v := range own.VIPs {
		if v.Holder == controller {
			return "it holds vip " + v.Name
		}
	}
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	err := d.opt.Ask(ctx, controller, "alive", struct{}{}, nil)
	_, wordless := errors.AsType[peer.WordlessError](err)
	switch {
	case err == nil, !peer.Unanswered(err): // one that does not know the question is there, too
		return "its agent answers others"
	case wordless:
		return "its agent takes connections"
	case peer.NoAgent(err):
		return ""
	}
	c, _ := s.Controller(controller)
	if name := upAt(own.Services, c.Address); name != "" {
		return name + " on it passes its check"
	}
	return ""
}

// upAt gives a service that is up at address; "" for none.
func upAt(services []status.Service, address netip.Addr) string {
	for _, svc := range services {
		for _, h := range svc.Hosts {
			if at, err := netip.ParseAddrPort(h.Address); err == nil && at.Addr() == address && h.State == status.Up {
				return svc.Name
			}
		}
	}
	return ""
}
