package haproxy

import (
	"strings"
	"time"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// The evidence that it takes, see Dropping.
const (
	// dropsLeast is how many requests a host must have ended without an answer.
	dropsLeast = 5
	// DropClients is of how many clients they must have been, at the least.
	DropClients = 3
	// DropWindow is for how long the host must have answered nothing.
	DropWindow = 10 * time.Second
	// unansweredFor is for how long HAProxy remembers a client that asks nothing, in seconds.
	unansweredFor = 30
)

// A Drop is a host that may be failing by what it ends without an answer.
type Drop struct {
	Host output.Row // its row with the checks
	// Spare is how many requests of the service went unanswered for another reason
	// meanwhile: as many clients without an answer say nothing of the host.
	Spare uint64
}

// Dropping gives the hosts, one of a service at the most, that end what they are
// asked without an answer, as by a reset in the middle of an upload, while other
// hosts of the service do such requests well and none of these ends one so; before
// and after are rows of "show stat", window apart.
//
// HAProxy 2.6 counts a reset in eresp and srv_abrt, or twice in eresp, and as no
// answer. It does the same where a host refuses an upload by an early answer, as
// 413, and closes. And one client's requests may be what its host cannot bear, or
// will not take: none of them can be sent to another to tell. So it takes a host
// that answered nobody anything, and several clients, which the rows do not tell:
// see Clients. No second host goes while one is out, so that bad requests never
// take one after the other.
func Dropping(before, after []output.Row, window time.Duration) []Drop {
	old := make(map[[2]string]output.Row, len(before))
	for _, r := range before {
		old[[2]string{r.Proxy, r.Name}] = r
	}
	of := map[[2]string]*endings{} // by service and host; "" for all of a service together
	split := map[string]bool{}     // services with a backend for what is sent once; the others send all once
	for _, r := range after {
		was, known := old[[2]string{r.Proxy, r.Name}]
		name := hostOfServer(r.Name)
		switch r.Kind {
		case output.KindServer:
		case output.KindBackend:
			name = ""
		default:
			continue
		}
		key := [2]string{serviceOf(r), name}
		split[key[0]] = split[key[0]] || strings.HasSuffix(r.Proxy, onceSuffix)
		if of[key] == nil {
			of[key] = &endings{}
		}
		of[key].add(was, r, known)
	}
	var found []Drop
	for _, r := range after {
		if r.Kind != output.KindServer || r.Proxy != serviceOf(r) || hostOfServer(r.Name) != r.Name {
			continue
		}
		if hostState(&r) == status.Up && r.Since >= window && drops(of, split[r.Proxy], after, r) {
			found = append(found, Drop{Host: r, Spare: of[[2]string{r.Proxy, ""}].spare})
		}
	}
	return found
}

// drops reports whether the host of r stands out among those of its service.
func drops(of map[[2]string]*endings, split bool, rows []output.Row, r output.Row) bool {
	mine := of[[2]string{r.Proxy, r.Name}]
	if mine.unknown || mine.good > 0 || mine.failed < 2*dropsLeast || of[[2]string{r.Proxy, ""}] == nil {
		return false
	}
	well := false
	for _, o := range rows {
		if o.Kind != output.KindServer || o.Proxy != r.Proxy || o.Name == r.Name || hostOfServer(o.Name) != o.Name {
			continue
		}
		its := of[[2]string{o.Proxy, o.Name}]
		if state := hostState(&o); its.unknown || its.failed > 0 || state != status.Up && state != status.Drain {
			return false
		}
		well = well || its.once > 0 || !split && its.good > 0
	}
	return well
}

// endings counts how the requests of a host ended, or those of a service.
type endings struct {
	good, once uint64 // answers but for failures; of these, to what is sent once
	failed     uint64 // without an answer; twice that
	spare      uint64 // without an answer, of what is no host's doing
	unknown    bool   // its counters are of another process
}

// add adds what happened between two rows.
func (e *endings) add(was, is output.Row, known bool) {
	if !known || is.RespErr < was.RespErr || is.ServerErr < was.ServerErr || is.ConnErr < was.ConnErr || is.ClientErr < was.ClientErr {
		e.unknown = true
		return
	}
	for class, n := range is.Responses {
		switch {
		case n < was.Responses[class]:
			e.unknown = true
		case class != 5:
			e.good += n - was.Responses[class]
			if is.Proxy != serviceOf(is) {
				e.once += n - was.Responses[class]
			}
		}
	}
	e.failed += is.RespErr - was.RespErr + is.ServerErr - was.ServerErr
	e.spare += is.ConnErr - was.ConnErr + is.ClientErr - was.ClientErr
}

// ShowClients gives the command of the runtime API whose reply ParseClients reads,
// for svc.
func ShowClients(svc spec.Service) string { return "show table " + AcceptsName(svc) }

// Clients are those of a service that asked something which is sent once, by their addresses.
type Clients map[string]Client

// A Client is one of them.
type Client struct {
	Unanswered uint64 // requests without an answer from a host, also those that still wait
	Waits      bool   // it has requests under way
}

// ParseClients reads the reply to ShowClients (management guide 9.3, "show table"). What
// it does not know is left out.
func ParseClients(reply []byte) Clients {
	all := Clients{}
	for line := range strings.Lines(string(reply)) {
		values := map[string]string{}
		for word := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(word, "=")
			values[key] = value
		}
		asked, answered := output.Number(values["gpc0"]), output.Number(values["gpc1"])
		if key := values["key"]; key != "" && asked >= answered {
			all[key] = Client{Unanswered: uint64(asked - answered), Waits: values["use"] != "0"}
		}
	}
	return all
}

// Since gives how many clients have had requests that ended without an answer since
// was: those of them that wait for nothing now.
func (c Clients) Since(was Clients) int {
	n := 0
	for key, one := range c {
		if !one.Waits && one.Unanswered > was[key].Unanswered {
			n++
		}
	}
	return n
}
