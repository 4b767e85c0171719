package throughput

import (
	"fmt"
	"strings"

	"holdfast/internal/lab/peer"
	"holdfast/internal/spec"
)

// kollaConfig has the values that kolla-ansible lays down for a service: one
// thread, round robin, its timeouts and checks, each request logged by UDP.
const kollaConfig = `global
    log 127.0.0.1:%[1]d local1
    maxconn %[2]d
    nbthread 1
    stats socket %[3]s/kolla.sock mode 660

defaults
    log global
` + peer.KollaDefaults + `    maxconn %[2]d

frontend api_front
    mode http
    http-request del-header X-Forwarded-Proto
    option httplog
    option forwardfor
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    bind %[4]s
    default_backend api_back

backend api_back
    mode http
    option httpchk
`

func kolla(s *spec.Spec, vip string, logPort int, dir string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, kollaConfig, logPort, peer.MaxConn, dir, vip)
	svc := s.Services[0]
	for _, h := range svc.Hosts {
		fmt.Fprintf(&b, "    server %s %s check inter 2000 rise 2 fall 5\n", h.Name, svc.At(h))
	}
	return []byte(b.String())
}

// A Variant is holdfast's configuration with some lines taken out or added.
type Variant struct {
	Name  string `json:"name"`
	Edits []Edit `json:"edits"`
}

// An Edit takes out each line that begins with Text, or adds it to each
// section whose first line begins with Section.
type Edit struct {
	Section string `json:"section,omitempty"` // empty: take out
	Text    string `json:"text"`
}

// ParseVariant reads "NAME=EDIT;EDIT…", where EDIT is "-TEXT" to take lines
// out or "SECTION+TEXT" to add one.
func ParseVariant(text string) (Variant, error) {
	name, edits, found := strings.Cut(text, "=")
	if !found || name == "" || System(name) == Holdfast || System(name) == Kolla || System(name) == Direct {
		return Variant{}, fmt.Errorf("variant %q; write NAME=-LINE;SECTION+LINE with a name that is not taken", text)
	}
	v := Variant{Name: name}
	for e := range strings.SplitSeq(edits, ";") {
		e = strings.TrimSpace(e)
		if gone, ok := strings.CutPrefix(e, "-"); ok && gone != "" {
			v.Edits = append(v.Edits, Edit{Text: gone})
			continue
		}
		section, added, ok := strings.Cut(e, "+")
		if !ok || section == "" || added == "" {
			return Variant{}, fmt.Errorf("variant %s: %q is neither -LINE nor SECTION+LINE", name, e)
		}
		v.Edits = append(v.Edits, Edit{Section: section, Text: added})
	}
	return v, nil
}

// apply gives cfg with the edits, or says which one changed nothing.
func (v Variant) apply(cfg []byte) ([]byte, error) {
	for _, e := range v.Edits {
		var b strings.Builder
		hits := 0
		for line := range strings.Lines(string(cfg)) {
			if e.Section == "" && strings.HasPrefix(strings.TrimSpace(line), e.Text) {
				hits++
				continue
			}
			b.WriteString(line)
			if e.Section != "" && strings.HasPrefix(line, e.Section) {
				hits++
				b.WriteString("    " + e.Text + "\n")
			}
		}
		if hits == 0 {
			return nil, fmt.Errorf("%w: variant %s: %q is nowhere in the configuration", ErrOptions, v.Name, e.Section+e.Text)
		}
		cfg = []byte(b.String())
	}
	return cfg, nil
}
