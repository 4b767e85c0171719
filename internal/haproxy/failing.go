package haproxy

import (
	"strings"

	"holdfast/internal/haproxy/output"
	"holdfast/internal/status"
)

// The evidence that it takes to call a host failing, see Failing.
const (
	// failingAnswers is how many requests of a host must all have gone to
	// another one, since it failed them.
	failingAnswers = 5
	// lostShare is what part of these may have failed there, too: where the
	// others fail as well, it is the requests or what is behind all of them, and
	// taking a host out would help nobody.
	lostShare = 0.1
)

// Failing gives the servers that fail all that their clients ask of them, while
// other hosts served the same requests well; before and after are rows of "show
// stat" of some moments apart. Health checks do not see such a host:
// /healthcheck says that a service runs, not that it can work.
//
// Only what was sent again counts: a request that cannot be repeated, as a
// POST, may have failed by what is in it, and one that fails wherever it goes
// does. So no client takes a host out for others with requests that are bad.
// Those that cannot be repeated go through a backend of their own, "...:once", but
// for a service that is busy or slow, whose requests all go through "...:even": there
// what failed at a host and was not sent again says nothing of the others.
//
// One that is down, or alone in its backend, is not among them.
func Failing(before, after []output.Row) []output.Row {
	if !sentAgain(before, after) {
		return nil
	}
	old := make(map[[2]string]output.Row, len(before))
	for _, r := range before {
		old[[2]string{r.Proxy, r.Name}] = r
	}
	all := map[string]answers{} // of a backend's hosts together
	own := map[[2]string]answers{}
	lost := map[string]uint64{}     // failures that the clients of a service got, whoever failed
	alone := map[[2]string]uint64{} // of these, those that no other host had a part in
	for _, r := range after {
		was, known := old[[2]string{r.Proxy, r.Name}]
		switch {
		case !known:
		case r.Kind == output.KindServer:
			a, service := answersSince(was, r), serviceOf(r)
			if strings.HasSuffix(r.Proxy, onceSuffix) {
				a = answers{good: a.good}
			}
			key := [2]string{service, hostOfServer(r.Name)}
			if strings.HasSuffix(r.Proxy, evenSuffix) {
				alone[key] += more(was.Responses[5]+was.RespErr, r.Responses[5]+r.RespErr)
			}
			own[key] = own[key].plus(a)
			all[service] = all[service].plus(a)
		case r.Kind == output.KindBackend && !strings.HasSuffix(r.Proxy, onceSuffix):
			lost[serviceOf(r)] += more(was.Responses[5], r.Responses[5])
		}
	}
	var failing []output.Row
	for _, r := range after {
		if r.Kind != output.KindServer || r.Proxy != serviceOf(r) || hostOfServer(r.Name) != r.Name || hostState(&r) != status.Up {
			continue
		}
		key := [2]string{r.Proxy, r.Name}
		mine := own[key]
		elsewhere := more(alone[key], lost[r.Proxy])
		servedElsewhere := all[r.Proxy].good > 0 && float64(elsewhere) <= lostShare*float64(mine.again)
		if mine.good == 0 && mine.again >= failingAnswers && servedElsewhere {
			failing = append(failing, r)
		}
	}
	return failing
}

// sentAgain reports whether any server failed a request that was sent again, as far as
// the same rows are in both: most often none has, and that is all there is to find out.
func sentAgain(before, after []output.Row) bool {
	if len(before) != len(after) {
		return true
	}
	for i := range after {
		was, is := &before[i], &after[i]
		if is.Redisp > was.Redisp || is.Proxy != was.Proxy || is.Name != was.Name {
			return true
		}
	}
	return false
}

// serviceOf gives the backend that has the checks of r: a service's requests
// may go through two, see OnceName.
func serviceOf(r output.Row) string { return serviceOfBackend(r.Proxy) }

// answers counts what a server answered well, and what it failed and HAProxy sent
// again elsewhere, unseen by the client.
type answers struct{ good, again uint64 }

func (a answers) plus(b answers) answers { return answers{a.good + b.good, a.again + b.again} }

// more gives by how much a count is above another; nothing when it is not.
func more(was, is uint64) uint64 { return is - min(was, is) }

// answersSince counts the answers of a server between two of its rows. Of a row
// of a new process nothing is known.
func answersSince(was, is output.Row) answers {
	if is.Redisp < was.Redisp {
		return answers{}
	}
	a := answers{again: is.Redisp - was.Redisp}
	for class, n := range is.Responses {
		switch {
		case n < was.Responses[class]:
			return answers{}
		case class != 5:
			a.good += n - was.Responses[class]
		}
	}
	return a
}
