package cloud

import (
	"fmt"
	"slices"
)

// A ServiceGroup is some services that run on the same hosts, and so fit into
// one table with a column for each host.
type ServiceGroup struct {
	Hosts []string
	// Services have their hosts in the order of Hosts.
	Services []Service
}

// Group sorts services into groups, in the order in which they come.
func Group(services []Service) []ServiceGroup {
	var groups []ServiceGroup
	index := map[string]int{}
	for _, s := range services {
		sorted := slices.Sorted(slices.Values(names(s.Hosts)))
		key := fmt.Sprintf("%d %q", len(sorted), sorted) // a name of another machine's may have anything in it
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
func inOrder(s Service, hosts []string) Service {
	s.Hosts = slices.Clone(s.Hosts)
	slices.SortStableFunc(s.Hosts, func(a, b Host) int {
		return slices.Index(hosts, a.Name) - slices.Index(hosts, b.Name)
	})
	return s
}
