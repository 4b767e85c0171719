package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Brief gives d as a person reads it, with two places that matter: "0.4ms",
// "41ms", "1.2s", "41s", "39m", "2h5m", "3d4h". Less than nothing is "0s".
func Brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Age gives the time from since to now in Brief's words, in whole seconds; ""
// when since is unknown.
func Age(now, since time.Time) string {
	if since.IsZero() {
		return ""
	}
	d := now.Sub(since).Truncate(time.Second)
	if d < 10*time.Second {
		return fmt.Sprintf("%ds", int(max(0, d).Seconds()))
	}
	return Brief(d)
}

// Count gives n of what in words: "1 error", "2 errors".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Few names the first three of words, and how many more there are.
func Few(words []string) string {
	if more := len(words) - 3; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:3], ", "), more)
	}
	return strings.Join(words, ", ")
}

// HostSubject gives the Subject of what is said of one host of a service.
func HostSubject(service, host string) string { return "service " + service + " on " + host }

// DrainedWhole reports whether drains, of a Snapshot, has the whole controller.
func DrainedWhole(drains []Drained) bool {
	return slices.ContainsFunc(drains, func(d Drained) bool { return d.Service == "" })
}

// A ServiceGroup is some services that run on the same hosts, and so fit into
// one table with a column for each host.
type ServiceGroup struct {
	Hosts []string
	// Services have their hosts in the order of Hosts.
	Services []CloudService
}

// Group sorts services into groups, in the order in which they come.
func Group(services []CloudService) []ServiceGroup {
	var groups []ServiceGroup
	index := map[string]int{}
	for _, s := range services {
		sorted := slices.Sorted(slices.Values(names(s.Hosts)))
		key := strings.Join(sorted, "\n")
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key] = i
			groups = append(groups, ServiceGroup{Hosts: names(s.Hosts)})
		}
		groups[i].Services = append(groups[i].Services, inOrder(s, groups[i].Hosts))
	}
	return groups
}

// inOrder gives s with its hosts in the order of their names in hosts. Hosts of
// one name keep their order.
func inOrder(s CloudService, hosts []string) CloudService {
	s.Hosts = slices.Clone(s.Hosts)
	slices.SortStableFunc(s.Hosts, func(a, b CloudHost) int {
		return slices.Index(hosts, a.Name) - slices.Index(hosts, b.Name)
	})
	return s
}
