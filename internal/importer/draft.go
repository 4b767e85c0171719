package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/keystone"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// Options is what the operator says beside the listing. What is left empty
// becomes a mark in the draft where the listing cannot tell either.
type Options struct {
	Source    string // the listing's file name, for the findings and the draft's head
	Cloud     string // default: from Hostname
	Region    string // default: the one with the most endpoints that are not local
	VIPs      []netip.Prefix
	Hostname  string
	Interface string
	RouterID  int // 1 to 255; 0 is the default, 51
	// Controllers in order of preference.
	Controllers []spec.Host
	// Hosts has the hosts of the services that do not run on the controllers,
	// by any name of the service.
	Hosts map[string][]spec.Host
}

// Mark is the word that stands in a draft where the operator has to write
// something. A spec with it in is not valid.
const Mark = "FILL_IN"

// A FillIn is a place in a draft that has the mark.
type FillIn struct {
	Line int    `json:"line"` // of the spec, from 1
	Path string `json:"path"` // "vips[0].addresses[0]"
	What string `json:"what"` // what to write there
}

// A Drafted is a spec made from a listing.
type Drafted struct {
	Spec     []byte // the YAML file; nil when no endpoint was of use
	FillIn   []FillIn
	Services []string // by their names in the spec
	Findings []status.Finding
}

// An OptionError says that an option does not fit the listing.
type OptionError struct {
	Option string // "host", "region"
	Text   string
}

func (e *OptionError) Error() string { return fmt.Sprintf("--%s: %s", e.Option, e.Text) }

// Draft makes a spec of endpoints: one service for each that they name, with
// what differs from the built-in catalog, and whole where that does not know the
// service. What had to be left out, merged or guessed is a warning with its
// row; an error among the findings means that there is no spec. The error
// returned is an *OptionError.
func Draft(endpoints []keystone.Endpoint, opt Options, cat catalog.Catalog) (Drafted, error) {
	d := &draft{opt: opt, cat: cat}
	rows, err := d.inRegion(d.enabled(endpoints))
	if err != nil {
		return Drafted{}, err
	}
	d.group(d.distinct(rows))
	d.findFronts()
	d.settlePorts()
	d.place()
	if err := d.assignHosts(); err != nil {
		return Drafted{}, err
	}
	if len(d.services) == 0 {
		d.findings = append(d.findings, status.Finding{
			Severity: status.Error, Code: status.CodeNoEndpoints, Where: status.Position{File: opt.Source},
			Text: "no endpoint is left to make a spec of", Remedy: "see what was left out",
		})
		return Drafted{Findings: d.findings}, nil
	}
	text, marks := d.write()
	out := Drafted{Spec: text, FillIn: marks, Findings: d.findings}
	for _, s := range d.services {
		out.Services = append(out.Services, s.name)
	}
	return out, nil
}

// draft is a spec being drafted.
type draft struct {
	opt      Options
	cat      catalog.Catalog
	findings []status.Finding
	region   string // "" when neither the listing nor the operator names one
	others   []string
	services []*service
	dropped  []*service // whose port is another one's
	// controllerHosts are the hosts of URLs that mean the controllers.
	controllerHosts []string
	fronts          fronts
}

// row is an endpoint with its URL taken apart.
type row struct {
	keystone.Endpoint
	at keystone.Location
}

// say adds a finding about a row.
func (d *draft) say(severity status.Severity, e keystone.Endpoint, code, text, remedy string) {
	d.findings = append(d.findings, status.Finding{
		Severity: severity, Code: code, Text: text, Remedy: remedy, Line: e.Text,
		Where: status.Position{File: d.opt.Source, Line: e.Row},
	})
}

// enabled gives the endpoints that are enabled and have a URL that makes sense.
func (d *draft) enabled(endpoints []keystone.Endpoint) []row {
	var rows []row
	for _, e := range endpoints {
		if !e.Enabled {
			d.say(status.Warning, e, status.CodeDisabledEndpoint, "the "+e.Label()+" is disabled", "it is left out")
			continue
		}
		at, err := keystone.Locate(e.URL)
		if err != nil {
			d.say(status.Warning, e, status.CodeBadURL, "the "+e.Label()+" has no URL of use: "+err.Error(), "it is left out; write it by hand")
			continue
		}
		if at.Dropped != "" {
			d.say(status.Warning, e, status.CodeURLCut, "the URL of the "+e.Label()+" has more than a spec can say", at.Dropped+" is left out")
		}
		rows = append(rows, row{e, at})
	}
	return rows
}

// regionCount says how much of a listing is in one region.
type regionCount struct {
	name            string
	endpoints, real int // real: not on a loopback address
	first           row
}

// inRegion chooses the region and gives its rows.
func (d *draft) inRegion(rows []row) ([]row, error) {
	regions := countRegions(rows)
	d.region = d.opt.Region
	if len(regions) == 0 || len(regions) == 1 && regions[0].name == "" {
		return rows, nil
	}
	if d.region == "" {
		d.region = slices.MaxFunc(regions, func(a, b regionCount) int {
			return cmp.Or(cmp.Compare(len(a.name), 0)-cmp.Compare(len(b.name), 0),
				cmp.Compare(a.real, b.real), cmp.Compare(a.endpoints, b.endpoints))
		}).name
	}
	found := false
	for _, r := range regions {
		if r.name == d.region {
			found = true
			continue
		}
		d.leaveOut(r)
	}
	if !found {
		return nil, d.noRegion(regions)
	}
	return slices.DeleteFunc(rows, func(r row) bool { return r.Region != d.region }), nil
}

// leaveOut says that the endpoints of r have no place in the draft.
func (d *draft) leaveOut(r regionCount) {
	text, remedy := fmt.Sprintf("region %s is left out, with %s", r.name, status.Count(r.endpoints, "endpoint")),
		fmt.Sprintf("a spec has one region, here %s; --region %s drafts the other one", d.region, r.name)
	if r.name == "" {
		text, remedy = fmt.Sprintf("%s without a region left out", status.Count(r.endpoints, "endpoint")), ""
	} else {
		d.others = append(d.others, r.name)
	}
	d.say(status.Warning, r.first.Endpoint, status.CodeOtherRegion, text, remedy)
}

func (d *draft) noRegion(regions []regionCount) error {
	var names []string
	for _, r := range regions {
		if r.name != "" {
			names = append(names, r.name)
		}
	}
	text := fmt.Sprintf("the listing has no region %q; it has %s", d.region, strings.Join(names, ", "))
	if near, ok := catalog.Nearest(d.region, names); ok {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return &OptionError{"region", text}
}

// countRegions gives the regions in the order of the listing.
func countRegions(rows []row) []regionCount {
	var regions []regionCount
	for _, r := range rows {
		i := slices.IndexFunc(regions, func(c regionCount) bool { return c.name == r.Region })
		if i < 0 {
			i = len(regions)
			regions = append(regions, regionCount{name: r.Region, first: r})
		}
		regions[i].endpoints++
		if !r.at.Loopback() {
			regions[i].real++
		}
	}
	return regions
}

// distinct leaves out rows that say what one before them says. A listing
// without the Interface column says everything up to three times; that is
// nobody's mistake.
func (d *draft) distinct(rows []row) []row {
	type key struct{ name, typ, iface string }
	first := map[key]row{}
	same := map[keystone.Endpoint]bool{}
	var out []row
	for _, r := range rows {
		k := key{r.ServiceName, r.ServiceType, r.Interface}
		before, again := first[k]
		bare := keystone.Endpoint{ServiceName: r.ServiceName, ServiceType: r.ServiceType, Interface: r.Interface, URL: r.URL}
		switch {
		case !again:
			first[k] = r
		case same[bare]:
			if r.Interface != "" {
				d.say(status.Warning, r.Endpoint, status.CodeDuplicateEndpoint,
					fmt.Sprintf("the %s is listed twice, first in line %d", r.Label(), before.Row), "one is left out")
			}
			continue
		case r.Interface != "":
			d.say(status.Warning, r.Endpoint, status.CodeTwoEndpoints,
				fmt.Sprintf("it is a second %s, the first is in line %d: %s", r.Label(), before.Row, before.URL),
				"clients get either; the first one's port and path are taken")
		}
		same[bare] = true
		out = append(out, r)
	}
	return out
}
