package keystone

import (
	"fmt"
	"strings"
)

// Diff shows p's changes for a person to review: a line for what is taken away
// with "-" before it, one for what comes with "+". It is plain ASCII as far as
// the catalog is.
func (p Plan) Diff() string {
	var b strings.Builder
	if p.Empty() {
		fmt.Fprintf(&b, "nothing to change in region %s\n", p.Region)
		return b.String()
	}
	service := ""
	for _, c := range p.Changes {
		if c.Service != service {
			service = c.Service
			fmt.Fprintf(&b, "%s\n", service)
		}
		c.diff(&b)
	}
	fmt.Fprintf(&b, "\nplan %s for region %s: %s\n", p.ID, p.Region, p.Summary())
	return b.String()
}

// Summary counts the changes, and what is not changed.
func (p Plan) Summary() string {
	n := map[Op]int{}
	for _, c := range p.Changes {
		n[c.Op]++
	}
	var parts []string
	for _, of := range []struct {
		op   Op
		what string
	}{{Update, "to update"}, {Create, "to create"}, {CreateService, "to create in Keystone as a service"}, {Disable, "to disable"}} {
		if n[of.op] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[of.op], of.what))
		}
	}
	return fmt.Sprintf("%s; %d more of these services stay as they are, %d of other services and regions are not touched",
		strings.Join(parts, ", "), p.Unchanged, p.Outside)
}

// diff writes one change.
func (c Change) diff(b *strings.Builder) {
	id, typ := "(new)", c.After.ServiceType
	if c.Before != nil {
		id = c.Before.ID
	}
	fmt.Fprintf(b, "  %3d %-8s %-14s %-9s %-32s  %s\n", c.N, c.verb(), typ, c.After.Interface, id, c.Why)
	switch c.Op {
	case CreateService:
		fmt.Fprintf(b, "      + service %s of type %s\n", c.After.ServiceName, typ)
	case Create:
		fmt.Fprintf(b, "      + %s\n", c.After.URL)
	case Disable:
		fmt.Fprintf(b, "      - %s\n      + disabled\n", c.Before.URL)
	case Update:
		if !c.Before.Enabled {
			fmt.Fprintf(b, "      - disabled, %s\n      + enabled, %s\n", c.Before.URL, c.After.URL)
			return
		}
		fmt.Fprintf(b, "      - %s\n      + %s\n", c.Before.URL, c.After.URL)
	}
}

func (c Change) verb() string {
	if c.Op == CreateService {
		return "create"
	}
	return string(c.Op)
}

// String says c in one line: "public endpoint of glance (image): http://a -> http://b".
func (c Change) String() string {
	// The others need nothing here.
	//exhaustive:ignore
	switch c.Op {
	case CreateService:
		return fmt.Sprintf("service %s (%s) created", c.After.ServiceName, c.After.ServiceType)
	case Create:
		return fmt.Sprintf("%s created: %s", c.After, c.After.URL)
	case Disable:
		return fmt.Sprintf("%s disabled: %s", c.Before, c.Before.URL)
	}
	return fmt.Sprintf("%s: %s -> %s", c.Before, c.Before.URL, c.After.URL)
}
