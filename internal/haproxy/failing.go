package haproxy

import (
	"strings"

	"holdfast/internal/status"
)

// The evidence that it takes to call a host failing, see Failing.
const (
	// failingAnswers is how many answers of a host must all be failures.
	failingAnswers = 5
	// healthyShare is what part of the others' answers, at the least, must be
	// good: where the others fail too, it is the requests or what is behind all
	// of them, and taking a host out would help nobody.
	healthyShare = 0.9
)

// Failing gives the servers that answer their clients with failures alone, 5xx,
// while the others of their backend answer the same clients well; before and
// after are rows of "show stat" of some moments apart. Health checks do not see
// such a host: /healthcheck says that a service runs, not that it can work.
//
// One that is down, or alone in its backend, is not among them. A second
// backend's server is, beside the first's, where it is checked by itself: since
// it was added without a reload.
func Failing(before, after []Server) []Server {
	old := make(map[[2]string]Server, len(before))
	for _, r := range before {
		old[[2]string{r.Proxy, r.Name}] = r
	}
	hosts, all := map[[2]string]answers{}, map[string]answers{}
	for _, r := range after {
		if r.Kind == KindServer {
			a, service := answersSince(old[[2]string{r.Proxy, r.Name}], r), serviceOf(r)
			host := [2]string{service, r.Name}
			hosts[host], all[service] = hosts[host].plus(a), all[service].plus(a)
		}
	}
	var failing []Server
	for _, r := range after {
		service := serviceOf(r)
		if r.Kind != KindServer || r.Proxy != service && r.CheckStatus == "" || hostState(&r) != status.Up {
			continue
		}
		own := hosts[[2]string{service, r.Name}]
		others := answers{all[service].good - own.good, all[service].bad - own.bad}
		if own.good == 0 && own.bad >= failingAnswers && others.healthy() {
			failing = append(failing, r)
		}
	}
	return failing
}

// serviceOf gives the backend that has the checks of r: a service's requests
// may go through two, see OnceName.
func serviceOf(r Server) string { return strings.TrimSuffix(r.Proxy, onceSuffix) }

// answers counts what a server answered: good, and failures.
type answers struct{ good, bad uint64 }

func (a answers) plus(b answers) answers { return answers{a.good + b.good, a.bad + b.bad} }

func (a answers) healthy() bool {
	return a.good > 0 && float64(a.good) >= healthyShare*float64(a.good+a.bad)
}

// answersSince counts the answers of a server between two of its rows. An
// answer that HAProxy kept from the client, and repeated the request elsewhere,
// counts among the redispatches only. Of a row that is new, or of a new
// process, nothing is known.
func answersSince(was, is Server) answers {
	if was.Name == "" || is.Redisp < was.Redisp {
		return answers{}
	}
	a := answers{bad: is.Redisp - was.Redisp}
	for class, n := range is.Responses {
		switch {
		case n < was.Responses[class]:
			return answers{}
		case class == 5:
			a.bad += n - was.Responses[class]
		default:
			a.good += n - was.Responses[class]
		}
	}
	return a
}
