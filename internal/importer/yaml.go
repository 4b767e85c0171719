package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/keystone"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// What to write at the marks.
const (
	whatAddress    = "the address dedicated to HAProxy, with its network's prefix length: 10.64.20.10/24"
	whatHostname   = "the DNS name of that address, as clients will use it"
	whatInterface  = "the network interface that gets the address: eno1"
	whatCert       = "a PEM file with certificate, chain and key: /etc/holdfast/tls/api.pem"
	whatController = "the controller's name"
	whatOwnAddress = "its own address, not the one dedicated to HAProxy"
	whatNext       = "the next controller's name and own address; or remove the line"
	whatHost       = "the name of a host it runs on"
	whatHostAddr   = "the address of that host"
	whatType       = "its type in the Keystone catalog"
	whatPath       = "the path of its endpoint URL: /v1"
	whatRegion     = "the Keystone region of the endpoints: RegionOne"
	whatPort       = "the port that its hosts serve it at"
)

// defaultRouterID is what everybody begins with; see its comment in the draft.
const defaultRouterID = 51

// writer collects the lines of a spec and the marks in it.
type writer struct {
	lines []struct{ text, comment string }
	marks []FillIn
}

// line adds a line with an optional comment.
func (w *writer) line(text string, comment ...string) {
	w.lines = append(w.lines, struct{ text, comment string }{text, printable(strings.Join(comment, "; "))})
}

// mark gives the mark for the line that is added next.
func (w *writer) mark(path, what string) string {
	w.marks = append(w.marks, FillIn{Line: len(w.lines) + 1, Path: path, What: what})
	return Mark
}

// orMark gives value as YAML, or the mark with what to write as a comment.
func (w *writer) orMark(value, path, what string) (text, comment string) {
	if value == "" {
		return w.mark(path, what), what
	}
	return scalar(value), ""
}

// write gives the spec as YAML, and its marks.
func (d *draft) write() ([]byte, []FillIn) {
	w := &writer{}
	d.writeCloud(w)
	d.writeVIP(w)
	d.writeControllers(w)
	d.writeAgent(w)
	w.line("")
	w.line("services:")
	for i, s := range d.services {
		d.writeService(w, i, s)
	}
	for _, s := range d.dropped {
		w.line(fmt.Sprintf("  # %s is left out: its port %d is taken", s.name, s.port), s.comments()...)
	}
	head := d.head(len(w.marks))
	for i := range w.marks {
		w.marks[i].Line += len(head)
	}
	return []byte(strings.Join(head, "\n") + "\n" + w.text()), w.marks
}

// head gives the lines that say where the draft is from and what to do with it.
func (d *draft) head(marks int) []string {
	lines := []string{
		"# The spec of holdfast, drafted by \"holdfast import\" from " + printable(d.opt.Source) + ".",
		"# Next:",
	}
	n := 1
	next := func(text string) {
		lines = append(lines, fmt.Sprintf("#   %d. %s", n, text))
		n++
	}
	if marks > 0 {
		next(fmt.Sprintf("Write what is marked %s: %s.", Mark, status.Count(marks, "place")))
	}
	next("Check it: holdfast validate -f FILE")
	next("Copy it, unchanged, to /etc/holdfast/holdfast.yaml on every controller.")
	next("Start there: holdfast agent --controller NAME")
	return append(lines, "")
}

// text gives the lines with their comments one below the other.
func (w *writer) text() string {
	var b strings.Builder
	for i := 0; i < len(w.lines); {
		j, width := i, 0
		for ; j < len(w.lines) && w.lines[j].comment != ""; j++ {
			width = max(width, len([]rune(w.lines[j].text)))
		}
		for ; i < j; i++ {
			fmt.Fprintf(&b, "%-*s  # %s\n", width, w.lines[i].text, w.lines[i].comment)
		}
		for ; i < len(w.lines) && w.lines[i].comment == ""; i++ {
			b.WriteString(w.lines[i].text + "\n")
		}
	}
	return b.String()
}

func (d *draft) writeCloud(w *writer) {
	switch {
	case d.opt.Cloud != "":
		w.line("cloud: " + scalar(d.opt.Cloud))
	case d.opt.Hostname != "":
		w.line("cloud: "+scalar(cloudOf(d.opt.Hostname)), "as the host name has it")
	default:
		w.line("# cloud: NAME", "a short name for this cloud; without, the region's")
	}
	switch {
	case d.region == "":
		w.line("region: RegionOne", "the listing does not say; this is Keystone's default")
	case d.opt.Region == "" && !accepted("region", d.region):
		w.line("region: "+w.mark("region", whatRegion), whatRegion)
	case len(d.others) > 0:
		w.line("region: "+scalar(d.region), "the listing also has "+strings.Join(d.others, ", "))
	default:
		w.line("region: " + scalar(d.region))
	}
}

// cloudOf makes a cloud's name of the VIP's host name: the label after the first.
func cloudOf(hostname string) string {
	labels := strings.Split(hostname, ".")
	if len(labels) < 3 {
		return labels[0]
	}
	return labels[1]
}

func (d *draft) writeVIP(w *writer) {
	w.line("")
	w.line("vips:")
	for i, v := range d.vips() {
		d.writeOneVIP(w, i, v)
	}
}

func (d *draft) writeOneVIP(w *writer, i int, v vip) {
	path := fmt.Sprintf("vips[%d]", i)
	w.line("  - name: " + v.name)
	today, isAddr := keystone.Location{Host: v.host}.Addr()
	switch {
	case len(v.addresses) > 0:
		var list []string
		for _, p := range v.addresses {
			list = append(list, scalar(p.String()))
		}
		w.line("    addresses: [" + strings.Join(list, ", ") + "]")
	case isAddr && today.IsGlobalUnicast() && today.Zone() == "":
		what := "what the endpoints name today; its network's prefix length belongs behind it: " + today.String() + "/24"
		w.line("    addresses: [\""+today.String()+"/"+w.mark(path+".addresses[0]", what)+"\"]", what)
	default:
		w.line("    addresses: ["+w.mark(path+".addresses[0]", whatAddress)+"]", whatAddress)
	}
	hostname := v.hostname
	if hostname == "" && v.host != "" && !isAddr && accepted("hostname", v.host) {
		hostname = v.host
	}
	value, comment := w.orMark(hostname, path+".hostname", whatHostname)
	w.line("    hostname: "+value, nonEmpty(comment)...)
	value, comment = w.orMark(d.opt.Interface, path+".interface", whatInterface)
	w.line("    interface: "+value, nonEmpty(comment)...)
	if v.endpoints != nil {
		why := "those that the listing has"
		if d.fronts.two() {
			why = ""
		}
		w.line("    endpoints: ["+strings.Join(v.endpoints, ", ")+"]", nonEmpty(why)...)
	}
	if d.opt.RouterID != 0 {
		w.line(fmt.Sprintf("    vrrp: {router_id: %d}", (d.opt.RouterID+i-1)%255+1))
	} else {
		w.line(fmt.Sprintf("    vrrp: {router_id: %d}", defaultRouterID+i), "1 to 255; no other VRRP on this network may have it")
	}
	secure := d.writeTLS(w, path, v)
	if v.public {
		if lines := d.publicLines(secure); lines != nil {
			w.line("    public:")
			for _, l := range lines {
				w.line(l)
			}
		}
	}
}

// writeTLS asks for a certificate when clients of v are used to https, and reports whether
// they are.
func (d *draft) writeTLS(w *writer, path string, v vip) bool {
	secure, plain := d.schemes(v)
	if secure == 0 {
		return false
	}
	d.sayHTTPS(v, secure, plain)
	w.line("    tls:", "endpoints are https today; behind HAProxy the hosts must answer http, or the service needs mode: tcp")
	w.line("      certificate: "+w.mark(path+".tls.certificate", whatCert), whatCert)
	return true
}

// isSecure reports whether clients of r speak TLS.
func isSecure(r row) bool { return r.at.Scheme == "https" || r.at.Scheme == "wss" }

// sayHTTPS says what TLS on v means for the endpoints.
func (d *draft) sayHTTPS(v vip, secure, plain int) {
	severity, text := status.Info, status.Count(secure, "endpoint")+" with https, so the VIP has TLS"
	if d.fronts.two() {
		text = strings.Replace(text, "the VIP", "the VIP "+v.name, 1)
	}
	if plain > 0 {
		severity, text = status.Warning, text+fmt.Sprintf("; it then is https for %s with http, too", status.Count(plain, "endpoint"))
	}
	for _, s := range d.services {
		for _, r := range s.rows {
			if v.of(r) && isSecure(r) {
				d.say(severity, r.Endpoint, status.CodeHTTPS, text, "remove tls from the spec where http is wanted")
				return
			}
		}
	}
}

// schemes counts the endpoints of v by scheme.
func (d *draft) schemes(v vip) (secure, plain int) {
	for _, s := range d.services {
		for _, r := range s.rows {
			switch {
			case !v.of(r):
			case isSecure(r):
				secure++
			default:
				plain++
			}
		}
	}
	return secure, plain
}

// interfaces gives the catalog interfaces that the listing has, nil when it has
// all of them or does not say.
func (d *draft) interfaces() []string {
	has := map[string]bool{}
	for _, s := range d.services {
		for _, r := range s.rows {
			has[r.Interface] = true
		}
	}
	list := slices.DeleteFunc([]string{"public", "internal", "admin"}, func(i string) bool { return !has[i] })
	if has[""] || len(list) == 3 || len(list) == 0 {
		return nil
	}
	return list
}

func (d *draft) writeControllers(w *writer) {
	w.line("")
	if len(d.opt.Controllers) > 0 {
		w.line("controllers:", "in order of preference")
		for i, c := range d.opt.Controllers {
			w.host("  - ", fmt.Sprintf("controllers[%d]", i), c, whatController, whatOwnAddress)
		}
		return
	}
	w.line("controllers:", "in order of preference; add a line for each")
	var hosts []spec.Host
	if !slices.Contains(d.controllerHosts, strings.ToLower(d.opt.Hostname)) {
		hosts = listedHosts(d.controllerHosts)
	}
	for i, c := range append(hosts, spec.Host{}) {
		w.host("  - ", fmt.Sprintf("controllers[%d]", i), c, whatController, whatOwnAddress)
	}
}

// host adds a line with a host, marked where h says nothing.
func (w *writer) host(lead, path string, h spec.Host, whatName, whatAddr string) {
	var comments []string
	name, comment := w.orMark(h.Name, path+".name", whatName)
	comments = append(comments, nonEmpty(comment)...)
	addr := ""
	if h.Address.IsValid() {
		addr = h.Address.String()
	}
	addr, comment = w.orMark(addr, path+".address", whatAddr)
	comments = append(comments, nonEmpty(comment)...)
	if h == (spec.Host{}) && whatName == whatController && path != "controllers[0]" {
		comments = []string{whatNext}
	}
	w.line(lead+"{name: "+name+", address: "+addr+"}", comments...)
}

// writeAgent moves the agents' own ports out of the way of the services.
func (d *draft) writeAgent(w *writer) {
	const port, checkPort = 9470, 9471
	taken := map[int]bool{}
	for _, s := range d.services {
		taken[s.port] = true
	}
	if !taken[port] && !taken[checkPort] {
		return
	}
	free := func(from int) int {
		for taken[from] {
			from++
		}
		taken[from] = true
		return from
	}
	w.line("")
	w.line(fmt.Sprintf("agent: {port: %d, check_port: %d}", free(port), free(checkPort)), "a service has one of the usual ports, 9470 and 9471")
}

func (d *draft) writeService(w *writer, i int, s *service) {
	path := fmt.Sprintf("services[%d]", i)
	fields := d.fields(s)
	key := "  " + scalar(s.name) + ":"
	if len(fields) == 0 && len(s.hosts) == 0 && !s.elsewhere {
		w.line(key+" {}", s.comments()...)
		return
	}
	w.line(key, s.comments()...)
	for _, f := range fields {
		if f.what != "" {
			if f.refused {
				d.say(status.Warning, s.main().Endpoint, status.CodeOddValue,
					fmt.Sprintf("a spec cannot have the %s of the %s", f.key, s.main().Label()), "write what is meant into the spec")
			}
			w.line("    "+f.key+": "+w.mark(path+"."+f.key, f.what), f.what)
			continue
		}
		w.line("    "+f.key+": "+f.value, nonEmpty(f.comment)...)
	}
	hosts := s.hosts
	if len(hosts) == 0 && s.elsewhere {
		hosts = listedHosts(d.hostsOf(s))
		if len(hosts) == 0 {
			hosts = []spec.Host{{}}
		}
		w.line("    hosts:", "it is not on the controllers; add a line for each host it runs on")
	} else if len(hosts) > 0 {
		w.line("    hosts:")
	}
	for j, h := range hosts {
		w.host("      - ", fmt.Sprintf("%s.hosts[%d]", path, j), h, whatHost, whatHostAddr)
	}
}

// comments says where the endpoints of s point today, and what else it carries.
func (s *service) comments() []string {
	var out []string
	if origins := s.origins(); len(origins) > 0 {
		out = append(out, "today: "+strings.Join(origins, ", "))
	}
	if len(s.carries) > 0 {
		out = append(out, "carries "+strings.Join(s.carries, ", ")+" too")
	}
	return out
}

// field is one key of a service; with what, its value is to be filled in.
type field struct {
	key, value, comment, what string
	refused                   bool // the listing has a value, of no use
}

// fields gives what has to be said of s: of a known service what differs from
// the built-in catalog, of another one all.
func (d *draft) fields(s *service) []field {
	var out []field
	m := s.main()
	if !s.known || m.ServiceType != "" && len(d.cat.ByType(strings.ToLower(m.ServiceType))) == 0 {
		out = append(out, listed("type", m.ServiceType, whatType))
	}
	switch {
	case s.port == 0:
		out = append(out, field{key: "port", what: whatPort})
	case s.port != s.entry.Port:
		out = append(out, field{key: "port", value: strconv.Itoa(s.port)})
	}
	if s.hostPort != 0 {
		why := "the usual one, which other endpoints of it have"
		if s.kept {
			why = "that of the web server in front, with all of its paths"
		}
		out = append(out, field{key: "host_port", value: strconv.Itoa(s.hostPort), comment: why})
	}
	// A URL without a path is the same as one with "/" (RFC 3986 section 6.2.3).
	if path := cmp.Or(d.behind(s, m.at.Path), "/"); strings.TrimRight(path, "/") != strings.TrimRight(s.entry.Path, "/") {
		out = append(out, listed("path", path, whatPath))
	}
	if s.known && s.kept {
		out = append(out, field{key: "check", value: d.keptCheck(s), comment: "the usual one, below its path"})
	}
	if !s.known {
		path := m.at.Path
		if !s.kept {
			path = d.behind(s, path)
		}
		out = append(out, field{
			key: "check", value: fmt.Sprintf(`{path: %s, expect: "200-499"}`, scalar(basePath(path))),
			comment: "any answer but a 5xx; better: a path that needs no token, and its code",
		})
	}
	return out
}

// keptCheck gives the usual check of s below the path that its hosts have.
func (d *draft) keptCheck(s *service) string {
	k := d.cat.CheckFor(s.entry, "")
	codes := make([]string, len(k.Expect))
	for i, r := range k.Expect {
		codes[i] = r.String()
	}
	method := ""
	if k.Method != "GET" {
		method = "method: " + k.Method + ", "
	}
	return fmt.Sprintf(`{%spath: %s, expect: "%s"}`, method, scalar(s.route+k.Path), strings.Join(codes, ","))
}

// listed gives the field of a value that the listing has, to be filled in when
// the value is not one that a spec can have.
func listed(key, value, what string) field {
	if value == "" || !accepted(key, value) {
		return field{key: key, what: what, refused: value != ""}
	}
	return field{key: key, value: scalar(value)}
}

// accepted reports whether the spec takes value for key: "region", or "type" or
// "path" of a service. For the usual characters that is known; for others the
// spec is asked.
func accepted(key, value string) bool {
	if strings.Contains(value, Mark) {
		return false
	}
	if key == "type" && keystone.Slug(value) == value {
		return true
	}
	usual := strings.NewReplacer("$(tenant_id)s", "", "%(tenant_id)s", "", "$(project_id)s", "", "%(project_id)s", "").Replace(value)
	if key == "path" && len(value) < 200 && strings.HasPrefix(value, "/") && strings.Trim(usual, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.-") == "" {
		return true
	}
	service := map[string]string{"type": "t", "path": "/"}
	region, hostname := "r", "api.example.org"
	switch key {
	case "region":
		region = value
	case "hostname":
		hostname = value
	default:
		service[key] = value
	}
	_, findings := spec.Parse("", fmt.Appendf(nil, `
region: %s
vips: [{name: api, addresses: [192.0.2.10/24], hostname: %s, interface: eth0, vrrp: {router_id: 1}}]
controllers: [{name: ctl1, address: 192.0.2.1}]
services: {x: {type: %s, port: 1, path: %s}}
`, scalar(region), scalar(hostname), scalar(service["type"]), scalar(service["path"])))
	return status.Worst(findings) != status.Error
}

// basePath gives the part of path before its version and its templates: what
// answers without a token and a project, if anything does.
func basePath(path string) string {
	var parts []string
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" || keystone.IsTemplate(part) || isAPIVersion(part) {
			break
		}
		parts = append(parts, part)
	}
	base := strings.Join(append([]string{""}, append(parts, "")...), "/")
	if !accepted("path", base) {
		return "/"
	}
	return base
}

// isAPIVersion reports whether part is an API version: "v1", "v2.0".
func isAPIVersion(part string) bool {
	number, ok := strings.CutPrefix(part, "v")
	return ok && number != "" && strings.Trim(number, "0123456789.") == ""
}

// nonEmpty gives s as a list, of nothing if it is empty.
func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// printable makes s fit for a comment: on one line, without control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// scalar gives s as a YAML scalar that every reader takes for that string, in
// a block or in a flow: plain where that is certain, else quoted.
func scalar(s string) string {
	if plain(s) {
		return s
	}
	return strconv.Quote(strings.ToValidUTF8(s, "?"))
}

func plain(s string) bool {
	if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/$%()_.~+-") != "" {
		return false
	}
	if !strings.ContainsAny(s[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/$") {
		return false
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null": // YAML 1.1 has them all
		return false
	}
	var n yaml.Node
	if err := yaml.Load([]byte(s), &n); err != nil || len(n.Content) != 1 {
		return false
	}
	return n.Content[0].Tag == "!!str" && n.Content[0].Value == s
}
