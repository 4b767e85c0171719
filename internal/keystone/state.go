package keystone

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// A Record is an endpoint as Keystone has it: the Identity API's endpoint
// object together with the service that it belongs to. Its JSON form is that of
// journals and of "-o json".
type Record struct {
	ID          string `json:"id,omitempty"` // Keystone's own; nobody can choose it
	Region      string `json:"region"`       // region_id; empty for an endpoint without one
	ServiceID   string `json:"service_id,omitempty"`
	ServiceName string `json:"service_name"`
	ServiceType string `json:"service_type"`
	Interface   string `json:"interface"` // "public", "internal" or "admin"
	URL         string `json:"url"`       // with its templates, as registered
	Enabled     bool   `json:"enabled"`
	// Name and Description are attributes that Keystone stores and nobody reads.
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
}

// Endpoint gives r as a row of a listing.
func (r Record) Endpoint() Endpoint {
	return Endpoint{
		ID: r.ID, Region: r.Region, ServiceName: r.ServiceName, ServiceType: r.ServiceType,
		Enabled: r.Enabled, Interface: r.Interface, URL: r.URL,
		Text: strings.Join([]string{r.ID, r.Region, r.ServiceName, r.ServiceType, r.Interface, r.URL}, " "),
	}
}

// String names r for a person: "public endpoint of glance (image)".
func (r Record) String() string {
	if r.ServiceName == "" || r.ServiceName == r.ServiceType {
		return r.Interface + " endpoint of " + r.ServiceType
	}
	return fmt.Sprintf("%s endpoint of %s (%s)", r.Interface, r.ServiceName, r.ServiceType)
}

// Same reports whether a and b agree in all that a change could change and in
// what they are about.
func (r Record) Same(b Record) bool {
	return r.ID == b.ID && r.Region == b.Region && r.ServiceID == b.ServiceID &&
		r.Interface == b.Interface && r.URL == b.URL && r.Enabled == b.Enabled
}

// A ServiceRecord is a service as Keystone has it.
type ServiceRecord struct {
	ID      string `json:"id,omitempty"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Enabled bool   `json:"enabled"` // tokens leave out all endpoints of one that is not
}

// A State is what a Keystone knows of services, endpoints and regions.
type State struct {
	Regions   []string
	Services  []ServiceRecord
	Endpoints []Record
}

// Sorted gives a copy of s in an order that does not depend on Keystone's.
func (s State) Sorted() State {
	out := State{slices.Clone(s.Regions), slices.Clone(s.Services), slices.Clone(s.Endpoints)}
	slices.Sort(out.Regions)
	slices.SortFunc(out.Services, func(a, b ServiceRecord) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(out.Endpoints, func(a, b Record) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// NameEndpoints gives the endpoints the name and type of their services.
func (s *State) NameEndpoints() {
	byID := map[string]ServiceRecord{}
	for _, svc := range s.Services {
		byID[svc.ID] = svc
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.ServiceName, e.ServiceType = byID[e.ServiceID].Name, byID[e.ServiceID].Type
	}
}

// digest gives 12 hex digits that stand for lines.
func digest(lines []string) string {
	sum := sha256.New()
	for _, l := range lines {
		fmt.Fprintf(sum, "%d:%s\n", len(l), l) // a hash never fails to be written to
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// line gives r as one line that differs whenever r does.
func (r Record) line() string {
	return fmt.Sprintf("%q", []string{
		r.ID, r.ServiceID, r.ServiceName, r.ServiceType, r.Region, r.Interface, fmt.Sprint(r.Enabled), r.URL,
	})
}

func (s ServiceRecord) line() string {
	return fmt.Sprintf("%q", []string{s.ID, s.Name, s.Type, fmt.Sprint(s.Enabled)})
}
