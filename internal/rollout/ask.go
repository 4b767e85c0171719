package rollout

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/client"
	"holdfast/internal/spec"
)

const (
	// askPause is between two requests, and before the first one after a reload.
	askPause = 300 * time.Millisecond
	// askTries is how many requests in a row must go wrong.
	askTries = 3
)

// A broken tells that requests through HAProxy no longer reach a service.
type broken struct{ service, why string }

// waysTo gives, by service, the ways to those of names through the VIPs that this
// controller holds. HAProxy listens on the others too, and nothing leads there.
func (r *Rollout) waysTo(s *spec.Spec, names []string) map[string][]client.Request {
	held := map[string]bool{}
	for _, v := range r.opt.Held() {
		held[v.Name] = true
	}
	ways := map[string][]client.Request{}
	for _, svc := range s.Services {
		if !slices.Contains(names, svc.Name) {
			continue
		}
		isHTTP := svc.Mode == spec.HTTP
		for _, v := range s.VIPs {
			if !held[v.Name] || !svc.On(v) {
				continue
			}
			for _, place := range placesOn(v, svc) {
				request := haproxy.ClientRequest(svc, place)
				for _, at := range v.Addrs() {
					ways[svc.Name] = append(ways[svc.Name], client.Request{
						At: netip.AddrPortFrom(at, uint16(place.Port)), TLS: isHTTP && v.TLS != nil, Host: place.Name, HTTP: isHTTP, Text: request,
					})
				}
			}
		}
	}
	return ways
}

// placesOn gives where clients find svc on v: at its own port, at one that it shares, or at both.
func placesOn(v spec.VIP, svc spec.Service) []spec.Place {
	places := []spec.Place{v.PlaceOf(svc, "")}
	if shared := v.PlaceOf(svc, "public"); shared != places[0] {
		places = append(places, shared)
	}
	return places
}

// answering gives those of names that answer through every VIP held here, with s
// in force: what they do with the next spec, they can be held to.
func (r *Rollout) answering(ctx context.Context, s *spec.Spec, names []string) []string {
	if s == nil {
		return nil
	}
	var mu sync.Mutex
	var well []string
	var wg sync.WaitGroup
	for name, ways := range r.waysTo(s, names) {
		wg.Go(func() {
			for _, w := range ways {
				if w.Ask(ctx) != nil {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			well = append(well, name)
		})
	}
	wg.Wait()
	slices.Sort(well)
	return well
}

// askThrough asks each service of names through each VIP held here, now that s is in
// force, and hands on the first that does not answer any more.
func (r *Rollout) askThrough(ctx context.Context, s *spec.Spec, names []string, found chan<- broken) {
	for name, ways := range r.waysTo(s, names) {
		for _, w := range ways {
			go func() {
				why := askOften(ctx, w)
				if why == nil || ctx.Err() != nil || !r.holdsAddress(w.At.Addr()) {
					return // or it was another controller that did not answer
				}
				select {
				case found <- broken{name, fmt.Sprintf("a request through %v: %v", w.At, why)}:
				default: // another one was faster
				}
			}()
		}
	}
}

// holdsAddress reports whether this controller holds the VIP with that address.
func (r *Rollout) holdsAddress(at netip.Addr) bool {
	return slices.ContainsFunc(r.opt.Held(), func(v spec.VIP) bool { return slices.Contains(v.Addrs(), at) })
}

// askOften gives what was wrong with all of a row of requests; nil when one of
// them was answered, or showed nothing.
func askOften(ctx context.Context, w client.Request) error {
	var why error
	for range askTries {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askPause):
		}
		if why = w.Ask(ctx); why == nil {
			return nil
		}
	}
	return why
}
