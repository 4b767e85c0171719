package cloud

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGroup(t *testing.T) {
	service := func(name, hosts string) Service {
		s := Service{Name: name}
		for h := range strings.FieldsSeq(hosts) {
			s.Hosts = append(s.Hosts, Host{Name: h})
		}
		return s
	}
	got := Group([]Service{service("keystone", "a b c"), service("designate", "d"), service("nova", "c a b"), service("mdns", "d")})
	want := []ServiceGroup{
		{[]string{"a", "b", "c"}, []Service{service("keystone", "a b c"), service("nova", "a b c")}},
		{[]string{"d"}, []Service{service("designate", "d"), service("mdns", "d")}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if got := Group(nil); got != nil {
		t.Errorf("groups of nothing: %v", got)
	}
}

// Names of another machine's may have anything in them: services are in one group only where
// they have as many hosts.
func TestGroupOfOddNames(t *testing.T) {
	hosts := func(names ...string) (all []Host) {
		for _, n := range names {
			all = append(all, Host{Name: n})
		}
		return all
	}
	for _, g := range Group([]Service{
		{Name: "a", Hosts: hosts("x", "y")}, {Name: "b", Hosts: hosts("x\ny")}, {Name: "c"}, {Name: "d", Hosts: hosts("")}, {Name: "e", Hosts: hosts("x\" \"y")},
	}) {
		for _, s := range g.Services {
			if len(s.Hosts) != len(g.Hosts) {
				t.Errorf("%s has %d hosts in a group of %d", s.Name, len(s.Hosts), len(g.Hosts))
			}
		}
	}
}
