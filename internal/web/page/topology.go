package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

const (
	// certificateEnds is how long before its end a certificate is marked.
	certificateEnds = 14 * 24 * time.Hour
	// namedServices is how many services of a group are named where it is drawn.
	namedServices = 6
	// drawnNodes is up to how many controllers each is drawn.
	drawnNodes = 6
)

// A topology is the way of requests: from clients by VIPs and the HAProxys of those that
// hold them to the hosts of services. Its boxes say in words all that its lines show.
type topology struct {
	Clients string // their connections, counted
	VIPs    []vipRow
	Nodes   []nodeBox
	Groups  []groupBox
	// ToVIPs, ToNodes and ToHosts are the lines between these columns.
	ToVIPs, ToNodes, ToHosts []wire
}

type vipRow struct {
	aged
	Name, Hostname           string
	Addresses                []string
	Holder, HeldWord, Reason string
	Tone                     string
	Certificate              *note
}

// A note is some words that may be marked.
type note struct{ Text, Tone string }

// A nodeBox is a controller's HAProxy, and what the controller does about each VIP.
type nodeBox struct {
	Name, Link, Tone string
	State            note
	Holds            bool
	Roles            []note
	waits            bool // is well, stands by, and no more
}

// A groupBox is services that have the same hosts.
type groupBox struct {
	Services, Tone string
	Hosts          []hostBox
}

type hostBox struct{ Name, Tone, Text string }

// A wire leads from the middle of one row to that of another, of columns whose rows are of
// one height each: both from 0 to 100.
type wire struct {
	From, To float64
	Tone     string
}

// Path gives the line as SVG has it.
func (w wire) Path() string {
	return fmt.Sprintf("M0 %.4g C50 %.4g 50 %.4g 100 %.4g", w.From, w.From, w.To, w.To)
}

// middle gives where the middle of row i of n is.
func middle(i, n int) float64 { return (float64(i) + 0.5) / float64(n) * 100 }

func topologyOf(c cloud.Cloud) topology {
	t := topology{Clients: clientsOf(c)}
	for i, v := range c.VIPs {
		t.VIPs = append(t.VIPs, vipOf(c, v))
		t.ToVIPs = append(t.ToVIPs, wire{50, middle(i, len(c.VIPs)), toneInfo})
	}
	t.Nodes = nodesOf(c)
	for i, node := range t.Nodes {
		for j, v := range c.VIPs {
			if holdsOf(v, node.Name) {
				t.ToNodes = append(t.ToNodes, wire{middle(j, len(c.VIPs)), middle(i, len(t.Nodes)), t.VIPs[j].Tone})
			}
		}
	}
	groups := cloud.Group(c.Services)
	for i, g := range groups {
		t.Groups = append(t.Groups, groupBoxOf(g))
		for j, node := range t.Nodes {
			if node.Holds {
				t.ToHosts = append(t.ToHosts, wire{middle(j, len(t.Nodes)), middle(i, len(groups)), worse(node.Tone, t.Groups[i].Tone)})
			}
		}
	}
	return t
}

func clientsOf(c cloud.Cloud) string {
	open := 0
	for _, controller := range c.Controllers {
		if controller.Snapshot != nil {
			open += controller.Snapshot.HAProxy.Connections
		}
	}
	return status.Count(open, "connection")
}

// holdsOf reports whether name holds v, by its own word or its adverts.
func holdsOf(v cloud.VIP, name string) bool {
	return v.Holder == name || slices.Contains(v.Holders, name)
}

// nodesOf gives a box for each controller; of many, one for all that just stand by.
func nodesOf(c cloud.Cloud) []nodeBox {
	var nodes []nodeBox
	waiting := 0
	for _, controller := range c.Controllers {
		node := nodeOf(c, controller)
		if node.waits && len(c.Controllers) > drawnNodes {
			waiting++
			continue
		}
		nodes = append(nodes, node)
	}
	if waiting > 0 {
		nodes = append(nodes, nodeBox{Name: status.Count(waiting, "controller"), Tone: toneOK, State: note{"HAProxy running", toneOK}, Roles: []note{{"stand by, see Controllers", toneOK}}})
	}
	return nodes
}

// tones gives them, the best first.
func tones() []string { return []string{toneOK, toneInfo, toneWarn, toneBad} }

func worse(a, b string) string {
	return tones()[max(slices.Index(tones(), a), slices.Index(tones(), b))]
}

func vipOf(c cloud.Cloud, v cloud.VIP) vipRow {
	row := vipRow{
		aged: agedBy(c.Time, v.Since), Name: v.Name, Hostname: v.Hostname, Addresses: v.Addresses,
		Holder: v.Holder, HeldWord: "held by", Reason: v.Reason, Tone: toneOK, Certificate: certificateOf(c, v),
	}
	switch {
	case v.Announce != "" && len(v.Holders) > 0:
		row.HeldWord, row.Holder = "announced by", strings.Join(v.Holders, ", ")
	case len(v.Holders) > 1:
		row.Tone, row.HeldWord, row.Holder = toneBad, fmt.Sprintf("held by %d at once:", len(v.Holders)), strings.Join(v.Holders, ", ")
	case v.Holder == "":
		row.Tone, row.Holder = toneBad, "nobody"
	case len(v.Holders) == 0:
		row.Tone, row.HeldWord = toneWarn, "held, by its adverts, by"
	}
	return row
}

// certificateOf says until when the certificate that clients of v see is good; nil where
// there is none.
func certificateOf(c cloud.Cloud, v cloud.VIP) *note {
	var found *status.Certificate
	for _, controller := range c.Controllers {
		own, ok := ownView(controller, v.Name)
		if ok && own.Certificate != nil && (found == nil || controller.Name == v.Holder) {
			found = own.Certificate
			for _, more := range own.MoreCertificates { // the first that ends
				if more.NotAfter.Before(found.NotAfter) {
					found = &more
				}
			}
		}
	}
	if found == nil {
		return nil
	}
	n := &note{"TLS until " + found.NotAfter.UTC().Format(time.DateOnly), toneOK}
	switch left := found.NotAfter.Sub(c.Time); {
	case left <= 0:
		n.Tone, n.Text = toneBad, "TLS certificate ended on "+found.NotAfter.UTC().Format(time.DateOnly)
	case left < certificateEnds:
		n.Tone, n.Text = toneWarn, n.Text+", "+status.Count(int(left/(24*time.Hour)), "day")+" left"
	}
	if found.Refused {
		n.Tone, n.Text = worse(n.Tone, toneWarn), n.Text+"; a newer one is refused"
	}
	return n
}

// ownView gives what a controller says of a VIP.
func ownView(c cloud.Controller, vip string) (status.VIP, bool) {
	if c.Snapshot == nil {
		return status.VIP{}, false
	}
	i := slices.IndexFunc(c.Snapshot.VIPs, func(v status.VIP) bool { return v.Name == vip })
	if i < 0 {
		return status.VIP{}, false
	}
	return c.Snapshot.VIPs[i], true
}

func nodeOf(c cloud.Cloud, controller cloud.Controller) nodeBox {
	node := nodeBox{Name: controller.Name, Link: linkTo(controller.Address), State: note{"no answer", toneBad}}
	if s := controller.Snapshot; s != nil {
		node.State = note{"HAProxy " + string(s.HAProxy.State), haproxyOf(c.Time, s.HAProxy).Tone}
		if status.DrainedWhole(s.Drains) {
			node.Roles = append(node.Roles, note{"drained", toneInfo})
		}
	}
	var waits []note // the VIPs for which it just stands by
	for _, v := range c.VIPs {
		role, waiting := roleOf(controller, v)
		node.Holds = node.Holds || holdsOf(v, controller.Name)
		if waiting {
			waits = append(waits, role)
		} else if role.Text != "" {
			node.Roles = append(node.Roles, role)
		}
	}
	node.waits = len(node.Roles) == 0 && node.State.Tone == toneOK
	if len(waits) == 1 {
		node.Roles = append(node.Roles, waits[0])
	} else if len(waits) > 1 {
		node.Roles = append(node.Roles, note{fmt.Sprintf("backup of %d VIPs", len(waits)), toneOK})
	}
	node.Tone = node.State.Tone
	for _, r := range node.Roles {
		node.Tone = worse(node.Tone, r.Tone)
	}
	return node
}

// roleOf says what a controller does about a VIP; waiting reports whether it is ready to
// take it, and no more.
func roleOf(c cloud.Controller, v cloud.VIP) (role note, waiting bool) {
	switch {
	case slices.Contains(v.Holders, c.Name):
		tone := toneOK
		if v.Announce != "" {
			return note{"announces " + v.Name, toneOK}, false
		}
		if len(v.Holders) > 1 {
			tone = toneBad
		}
		return note{"holds " + v.Name, tone}, false
	case v.Holder == c.Name:
		return note{"holds " + v.Name + ", by its adverts", toneWarn}, false
	case c.Snapshot == nil:
		return note{}, false
	}
	own, ok := ownView(c, v.Name)
	switch {
	case !ok:
		return note{"does not know " + v.Name, toneBad}, false
	case own.State != status.Backup:
		text := "cannot hold " + v.Name
		if v.Announce != "" {
			text = "does not announce " + v.Name
		}
		if own.Reason != "" {
			text += ": " + own.Reason
		}
		return note{text, toneWarn}, false
	}
	return note{fmt.Sprintf("backup of %s, priority %d", v.Name, own.Priority), toneOK}, true
}

func groupBoxOf(g cloud.ServiceGroup) groupBox {
	var names []string
	for _, s := range g.Services {
		names = append(names, s.Name)
	}
	box := groupBox{Services: strings.Join(names, ", "), Tone: toneOK}
	if n := len(names) - namedServices; n > 1 {
		box.Services = fmt.Sprintf("%s and %d more", strings.Join(names[:namedServices], ", "), n)
	}
	for _, s := range g.Services {
		if s.State == status.Down || s.LastResort {
			box.Tone = toneBad
		}
	}
	well := 0
	for i, name := range g.Hosts {
		host := hostBoxOf(g, i, name)
		if host.Tone != toneOK || len(g.Hosts) <= maxColumns {
			box.Hosts = append(box.Hosts, host)
		} else {
			well++
		}
		if host.Tone == toneBad {
			box.Tone = worse(box.Tone, toneWarn)
		}
	}
	if well > 0 {
		box.Hosts = append(box.Hosts, hostBox{status.Count(well, "host"), toneOK, "well"})
	}
	return box
}

// hostBoxOf says how the services of g are on its host at place i.
func hostBoxOf(g cloud.ServiceGroup, i int, name string) hostBox {
	box := hostBox{Name: name, Tone: toneOK}
	byWord := map[string][]string{}
	var words []string
	for _, s := range g.Services {
		cell := cellOf(time.Time{}, s.Hosts[i])
		if cell.Tone == toneOK {
			continue
		}
		word := cell.Word
		if cell.Views != "" {
			word = "seen differently"
		}
		if byWord[word] == nil {
			words = append(words, word)
		}
		byWord[word], box.Tone = append(byWord[word], s.Name), worse(box.Tone, cell.Tone)
	}
	for j, word := range words {
		if n := len(byWord[word]); n < len(g.Services) {
			which := strings.Join(byWord[word], ", ")
			if n > 2 {
				which = status.Count(n, "service")
			}
			words[j] = which + " " + word
		}
	}
	box.Text = strings.Join(words, ", ")
	return box
}
