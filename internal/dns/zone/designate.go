package zone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	mdns "github.com/miekg/dns"

	"holdfast/internal/dns"
)

const (
	// conflictWait is for how long a record set that is being deleted may be in
	// the way of a new one: Designate's worker has to reach every name server first.
	conflictWait  = 60 * time.Second
	conflictPause = time.Second
)

// Designate edits zones through the API v2 of OpenStack's DNS service. It has no
// prerequisites as RFC 2136 has: it looks right before each change, and a change
// that somebody else makes in that moment is not noticed.
type Designate struct {
	client *gophercloud.ServiceClient
	wait   time.Duration // conflictWait; tests wait less
	pause  time.Duration // conflictPause
}

// NewDesignate takes an authenticated client whose endpoint is that of the DNS
// API, with "/v2/" at its end.
func NewDesignate(client *gophercloud.ServiceClient) *Designate {
	return &Designate{client, conflictWait, conflictPause}
}

// DesignateURL gives the base of the API v2, for an endpoint URL with or without
// the version in it.
func DesignateURL(endpoint string) string {
	return strings.TrimSuffix(strings.TrimRight(endpoint, "/"), "/v2") + "/v2/"
}

// By gives ByAPI.
func (*Designate) By() string { return dns.ByAPI }

// Source finds the zone of hostname in Designate and gives what it has there.
func (d *Designate) Source(ctx context.Context, hostname string) (dns.Source, error) {
	zone, err := d.findZone(ctx, hostname)
	if err != nil {
		return dns.Source{}, err
	}
	sets, err := d.sets(ctx, zone, hostname)
	if err != nil {
		return dns.Source{}, err
	}
	return dns.Source{Zone: dns.Canonical(zone.Name), Records: recordsOf(sets, zone)}, nil
}

// findZone walks up from hostname to the first zone that the project has.
func (d *Designate) findZone(ctx context.Context, hostname string) (zones.Zone, error) {
	for name := hostname; name != ""; name = dns.Parent(name) {
		zone, err := d.zone(ctx, name)
		if err != nil || zone.ID != "" {
			return zone, err
		}
	}
	return zones.Zone{}, fmt.Errorf("Designate has no zone for %s in this project; use the credentials of the project that owns the zone", hostname)
}

// zone gives the zone called name, one without an id if there is none.
func (d *Designate) zone(ctx context.Context, name string) (zones.Zone, error) {
	pages, err := zones.List(d.client, zones.ListOpts{Name: mdns.Fqdn(name)}).AllPages(ctx)
	if err != nil {
		return zones.Zone{}, d.explain(err, "look for the zone "+name)
	}
	all, err := zones.ExtractZones(pages)
	if err != nil {
		return zones.Zone{}, fmt.Errorf("read Designate's list of zones: %w", err)
	}
	for _, z := range all {
		if dns.Canonical(z.Name) == name && z.Action != "DELETE" {
			if strings.EqualFold(z.Type, "SECONDARY") {
				return zones.Zone{}, fmt.Errorf("the zone %s is a secondary one in Designate; change it at its primary, by --key-file or --print", name)
			}
			return z, nil
		}
	}
	return zones.Zone{}, nil
}

// sets gives the record sets of hostname that could be changed here, without
// those that are being deleted.
func (d *Designate) sets(ctx context.Context, zone zones.Zone, hostname string) ([]recordsets.RecordSet, error) {
	pages, err := recordsets.ListByZone(d.client, zone.ID, recordsets.ListOpts{Name: mdns.Fqdn(hostname)}).AllPages(ctx)
	if err != nil {
		return nil, d.explain(err, "list the record sets of "+hostname)
	}
	all, err := recordsets.ExtractRecordSets(pages)
	if err != nil {
		return nil, fmt.Errorf("read Designate's list of record sets: %w", err)
	}
	return slices.DeleteFunc(all, func(r recordsets.RecordSet) bool {
		return dns.Canonical(r.Name) != hostname || !slices.Contains(dns.KnownTypes(), r.Type) || r.Action == "DELETE"
	}), nil
}

// recordsOf gives record sets in the form of this package.
func recordsOf(sets []recordsets.RecordSet, zone zones.Zone) dns.Records {
	var out []dns.RRset
	for _, r := range sets {
		set := dns.RRset{Type: r.Type, TTL: ttlSeconds(r.TTL), Description: r.Description}
		if r.TTL == 0 { // gophercloud's way to say null
			set.TTL, set.ZoneTTL = ttlSeconds(zone.TTL), true
		}
		for _, v := range r.Records {
			set.Values = append(set.Values, designateValue(r.Type, v))
		}
		slices.Sort(set.Values)
		if r.Type != dns.TypeCNAME {
			set.Values = dns.AddressRRset(r.Type, 0, dns.Records{set}.Addresses()).Values
		}
		out = append(out, set)
	}
	return dns.MakeRecords(out...)
}

func ttlSeconds(n int) uint32 {
	if n < 0 || n > dns.MaxTTL {
		return 0
	}
	return uint32(n)
}

func designateValue(typ, v string) string {
	if typ == dns.TypeCNAME {
		return dns.Canonical(v)
	}
	return v
}

// Read gives what Designate has; the name servers may have it a little later.
func (d *Designate) Read(ctx context.Context, at dns.Place) (dns.Records, error) {
	zone, sets, err := d.lookup(ctx, at)
	return recordsOf(sets, zone), err
}

func (d *Designate) lookup(ctx context.Context, at dns.Place) (zones.Zone, []recordsets.RecordSet, error) {
	zone, err := d.zone(ctx, at.Zone)
	if err != nil {
		return zone, nil, err
	}
	if zone.ID == "" {
		return zone, nil, fmt.Errorf("Designate has no zone %s in this project", at.Zone)
	}
	sets, err := d.sets(ctx, zone, at.Hostname)
	return zone, sets, err
}

// Replace changes one record set after the other. Where an alias goes or comes,
// what is in its way goes first; else what is superfluous goes last, so that the
// name always has an address.
func (d *Designate) Replace(ctx context.Context, at dns.Place, before, after dns.Records) error {
	zone, sets, err := d.lookup(ctx, at)
	if err != nil {
		return err
	}
	if !recordsOf(sets, zone).Same(before) {
		return dns.ErrChanged
	}
	alias := len(before.Of(dns.TypeCNAME).Values)+len(after.Of(dns.TypeCNAME).Values) > 0
	if alias {
		if err := d.deleteSets(ctx, sets, after); err != nil {
			return err
		}
	}
	for _, set := range after {
		if set.Same(before.Of(set.Type)) {
			continue
		}
		if err := d.put(ctx, at, zone, sets, set); err != nil {
			return err
		}
	}
	if alias {
		return nil
	}
	return d.deleteSets(ctx, sets, after)
}

// deleteSets deletes those of sets whose type is not in after.
func (d *Designate) deleteSets(ctx context.Context, sets []recordsets.RecordSet, after dns.Records) error {
	for _, r := range sets {
		if len(after.Of(r.Type).Values) > 0 {
			continue
		}
		err := recordsets.Delete(ctx, d.client, r.ZoneID, r.ID).ExtractErr()
		if err != nil && !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
			return d.explain(err, fmt.Sprintf("delete the %s record set of %s", r.Type, dns.Canonical(r.Name)))
		}
	}
	return nil
}

// put changes the record set of set's type among sets, or creates it.
func (d *Designate) put(ctx context.Context, at dns.Place, zone zones.Zone, sets []recordsets.RecordSet, set dns.RRset) error {
	values := set.Values
	if set.Type == dns.TypeCNAME {
		values = []string{mdns.Fqdn(set.Values[0])}
	}
	ttl := int(set.TTL)
	if set.ZoneTTL {
		ttl = 0 // gophercloud's way to say null
	}
	i := slices.IndexFunc(sets, func(r recordsets.RecordSet) bool { return r.Type == set.Type })
	if i < 0 {
		return d.create(ctx, zone, recordsets.CreateOpts{
			Name: mdns.Fqdn(at.Hostname), Type: set.Type, Records: values, TTL: ttl, Description: set.Description,
		})
	}
	_, err := recordsets.Update(ctx, d.client, zone.ID, sets[i].ID, recordsets.UpdateOpts{Records: values, TTL: &ttl}).Extract()
	return d.explain(err, fmt.Sprintf("change the %s record set of %s", set.Type, at.Hostname))
}

// create makes a record set. One that is being deleted may be in its way for a while.
func (d *Designate) create(ctx context.Context, zone zones.Zone, opts recordsets.CreateOpts) error {
	limit, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	for {
		_, err := recordsets.Create(ctx, d.client, zone.ID, opts).Extract()
		if err == nil || !inTheWay(err) {
			return d.explain(err, fmt.Sprintf("create the %s record set of %s", opts.Type, dns.Canonical(opts.Name)))
		}
		select {
		case <-limit.Done():
			return d.explain(err, fmt.Sprintf("create the %s record set of %s", opts.Type, dns.Canonical(opts.Name)))
		case <-time.After(d.pause):
		}
	}
}

// inTheWay reports whether Designate says that there is such a record set, or
// an alias, already.
func inTheWay(err error) bool {
	code, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	return ok && (code.Actual == http.StatusConflict ||
		code.Actual == http.StatusBadRequest && strings.Contains(string(code.Body), "recordset_location"))
}

// explain says in words what err, of trying to do what, means. Nil for nil.
func (d *Designate) explain(err error, what string) error {
	code, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	switch {
	case err == nil:
		return nil
	case isNotJSON(err):
		return fmt.Errorf("%s in Designate at %s: its answer is not that of the DNS API v2; is that the URL of Designate?", what, d.at())
	case !ok:
		return fmt.Errorf("%s in Designate at %s: %w", what, d.at(), err)
	case code.Actual == http.StatusUnauthorized:
		return fmt.Errorf("%s in Designate at %s: it does not accept the token (401)", what, d.at())
	case code.Actual == http.StatusForbidden:
		return fmt.Errorf("%s in Designate at %s: these credentials are not allowed to (403)", what, d.at())
	}
	var said struct {
		Message string `json:"message"`
	}
	text := ""
	if json.Unmarshal(code.Body, &said) == nil && said.Message != "" {
		text = ": " + strings.Join(strings.Fields(said.Message), " ")
	}
	return fmt.Errorf("%s in Designate at %s: it answers %d%s", what, d.at(), code.Actual, text[:min(len(text), 300)])
}

// isNotJSON reports whether err is that of reading an answer of another kind.
func isNotJSON(err error) bool {
	_, wrongType := errors.AsType[*json.UnmarshalTypeError](err)
	_, wrongSyntax := errors.AsType[*json.SyntaxError](err)
	return wrongType || wrongSyntax
}

func (d *Designate) at() string { return strings.TrimRight(d.client.ResourceBaseURL(), "/") }
