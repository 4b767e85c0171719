package spec

import (
	"cmp"
	"slices"
	"strings"

	"holdfast/internal/status"
)

// preference gives the order in which the controllers are to have the VIP that is in
// place of the list of VIPs, from 0: those named first, and then the others. Where none
// is named each VIP begins with the next controller, so that as many VIPs as there are
// controllers lie on one each; and from one round of that to the next the order of the
// others is turned, so that what a controller had does not all fall on the same one.
func preference(controllers, named []string, place int) []string {
	rest := slices.DeleteFunc(slices.Clone(controllers), func(n string) bool { return slices.Contains(named, n) })
	if len(named) > 0 || len(rest) < 2 {
		return append(slices.Clone(named), rest...)
	}
	first, others := place%len(rest), len(rest)-1
	order := turned(rest, first)
	return append(order[:1:1], turned(order[1:], place/len(rest)%others)...)
}

// turned gives list from its element n on, and then those before it.
func turned(list []string, n int) []string {
	return append(slices.Clone(list[n:]), list[:n]...)
}

// Priority gives the VRRP priority that the controller called name has for v: 254 for
// the first of its order and less by an equal step for each after it, so that the skew
// times (RFC 9568 section 6.1) of any two are well apart. 0 if there is none.
func (s *Spec) Priority(v VIP, name string) int {
	step := 24
	if n := len(s.Controllers); n > 10 {
		step = max(1, 240/n)
	}
	if i := slices.Index(s.order(v), name); i >= 0 {
		return max(1, 254-i*step)
	}
	return 0
}

// order gives v.Prefer; the order of the controllers where v was not read from a file.
func (s *Spec) order(v VIP) []string {
	if len(v.Prefer) == len(s.Controllers) {
		return v.Prefer
	}
	return s.ControllerNames()
}

// Prefers sorts controllers by the order of v: the one that is to have it first.
func (s *Spec) Prefers(v VIP, controllers []Controller) []Controller {
	order := s.order(v)
	return slices.SortedStableFunc(slices.Values(controllers), func(a, b Controller) int {
		return cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name))
	})
}

// SharesName reports whether v and o have one hostname and serve the same endpoints of the
// catalog: then DNS gives clients the addresses of both.
func (v VIP) SharesName(o VIP) bool {
	sorted := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	return strings.EqualFold(v.Hostname, o.Hostname) && slices.Equal(sorted(v.Endpoints), sorted(o.Endpoints))
}

// checkPrefer finds names in the order of v that are no controller's, or there twice.
func (c *checker) checkPrefer(v rawVIP) {
	if v.prefer.ok && len(v.prefer.all) == 0 {
		c.fail(status.CodeNoController, v.prefer.node, v.at.path+".prefer is empty", "write the name of the controller that is to have it, or leave it out: then VIPs are spread over the controllers")
	}
	var known []string
	for _, h := range c.raw.controllers.all {
		if h.name.ok {
			known = append(known, h.name.v)
		}
	}
	if len(known) > 0 { // else that is another finding
		c.checkNamed(v.prefer.all, "controller", status.CodeUnknownController, known)
	}
}
