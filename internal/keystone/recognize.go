package keystone

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// An Answer is what a URL answered to a GET without a token.
type Answer struct {
	Code int // HTTP status
	Body []byte
}

// versionDocument is what OpenStack APIs answer at their root, in the shapes
// that are around: {"versions": [...]}, {"versions": {"values": [...]}} and,
// for one version, {"version": {...}} (API-SIG's microversion and version
// discovery guidelines; Keystone, Nova and Designate differ).
type versionDocument struct {
	Versions json.RawMessage `json:"versions"`
	Version  json.RawMessage `json:"version"`
}

// version is one API version in such a document.
type version struct {
	ID         string `json:"id"`
	MaxVersion string `json:"max_version"` // placement
	Links      []struct {
		Rel  string `json:"rel"`
		Href string `json:"href"`
	} `json:"links"`
	MediaTypes []struct {
		Type string `json:"type"`
	} `json:"media-types"`
}

// versions gives the API versions that the body of a lists; nil when it is no
// version document.
func (a Answer) versions() []version {
	var doc versionDocument
	if json.Unmarshal(a.Body, &doc) != nil {
		return nil // not JSON, or not of that shape: no version document
	}
	if v, ok := oneVersion(doc.Version); ok {
		return []version{v}
	}
	if all, ok := manyVersions(doc.Versions); ok {
		return all
	}
	var values struct {
		Values json.RawMessage `json:"values"`
	}
	if json.Unmarshal(doc.Versions, &values) != nil {
		return nil // nor this shape
	}
	all, _ := manyVersions(values.Values)
	return all
}

func oneVersion(raw json.RawMessage) (version, bool) {
	var v version
	err := json.Unmarshal(raw, &v)
	return v, err == nil && v.ID != ""
}

func manyVersions(raw json.RawMessage) ([]version, bool) {
	var all []version
	err := json.Unmarshal(raw, &all)
	return slices.DeleteFunc(all, func(v version) bool { return v.ID == "" }), err == nil && len(all) > 0
}

// self gives the URL that v gives for itself.
func (v version) self() string {
	for _, l := range v.Links {
		if l.Rel == "self" {
			return l.Href
		}
	}
	return ""
}

// selfPath gives its path, without slashes at the end.
func (v version) selfPath() string {
	u, err := url.Parse(v.self())
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}

func (v version) hasMedia(part string) bool {
	for _, m := range v.MediaTypes {
		if strings.Contains(m.Type, part) {
			return true
		}
	}
	return false
}

// A mark tells the version document of one API from those of the others.
type mark struct {
	name  string   // "Image"
	types []string // in a catalog
	is    func(version) bool
}

// marks has the APIs whose version documents are unmistakable. From their API
// references, and from answers of Keystone 22 and Glance 25.
func marks() []mark {
	media := func(part string) func(version) bool {
		return func(v version) bool { return v.hasMedia(part) }
	}
	return []mark{
		{"Identity", []string{IdentityType}, media("openstack.identity-")},
		{"Compute", []string{"compute", "compute_legacy", "computev21"}, func(v version) bool {
			return v.hasMedia("openstack.compute+") || strings.HasSuffix(v.selfPath(), "/v2.1")
		}},
		{"Image", []string{"image"}, func(v version) bool {
			return strings.HasPrefix(v.ID, "v2.") && strings.HasSuffix(v.selfPath(), "/v2") && len(v.MediaTypes) == 0
		}},
		{"Networking", []string{"network"}, func(v version) bool { return strings.HasSuffix(v.selfPath(), "/v2.0") }},
		{"Block Storage", []string{"block-storage", "block-store", "volume", "volumev2", "volumev3"}, media("openstack.volume+")},
		{"Placement", []string{"placement"}, func(v version) bool { return v.ID == "v1.0" && v.MaxVersion != "" }},
		{"Key Manager", []string{"key-manager"}, media("openstack.key-manager-")},
	}
}

// A Recognized says whose API an answer is.
type Recognized struct {
	// Types are the catalog types whose version document it could be; nil when
	// it is one that is not told from others, or none at all.
	Types []string
	// Text is for a person: "Identity API v3.14", "an API with v2", "no version document".
	Text string
	// Document reports whether the answer is a version document.
	Document bool
	// paths are those of the versions, to compare two answers by.
	paths []string
}

// Recognize tells whose API answered a.
func Recognize(a Answer) Recognized {
	all := a.versions()
	if len(all) == 0 {
		return Recognized{Text: "no version document"}
	}
	ids := make([]string, 0, len(all))
	r := Recognized{Document: true}
	for _, v := range all {
		ids = append(ids, v.ID)
		r.paths = append(r.paths, cmp.Or(lastSegment(v.selfPath()), v.ID))
	}
	slices.Sort(r.paths)
	r.paths = slices.Compact(r.paths)
	for _, m := range marks() {
		if slices.ContainsFunc(all, m.is) {
			r.Types, r.Text = m.types, m.name+" API "+newest(ids)
			return r
		}
	}
	r.Text = "an API with " + strings.Join(r.paths, ", ")
	return r
}

func lastSegment(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// newest gives the highest of ids like "v2.9" and "v2.15".
func newest(ids []string) string {
	return slices.MaxFunc(ids, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) })
}

func numbers(id string) []int {
	var all []int
	for part := range strings.SplitSeq(strings.TrimPrefix(id, "v"), ".") {
		n := 0
		for _, r := range part {
			if r < '0' || r > '9' || n > 1e6 {
				break
			}
			n = n*10 + int(r-'0')
		}
		all = append(all, n)
	}
	return all
}

// OwnAPI reports whether an answer recognized as got can be that of a service
// of types, when before is what its URL in the catalog answers now; nil when
// that does not answer. Why says what is wrong when it cannot.
func OwnAPI(types []string, got Recognized, before *Recognized) (ok bool, why string) {
	if got.Types != nil {
		if slices.ContainsFunc(types, func(t string) bool { return slices.Contains(got.Types, t) }) {
			return true, ""
		}
		return false, fmt.Sprintf("it is the %s, not that of type %s", got.Text, strings.Join(types, ", "))
	}
	if marked(types) {
		return false, fmt.Sprintf("%s, where the API of type %s was to be", got.Text, types[0])
	}
	if before == nil || before.Document == got.Document && sharePath(*before, got) {
		return true, ""
	}
	return false, fmt.Sprintf("%s, but the URL of now answers with %s", got.Text, before.Text)
}

// sharePath reports whether a and b have a version in common, or none at all.
func sharePath(a, b Recognized) bool {
	if len(a.paths) == 0 && len(b.paths) == 0 {
		return true
	}
	return slices.ContainsFunc(a.paths, func(p string) bool { return slices.Contains(b.paths, p) })
}

// marked reports whether the version document of one of types is unmistakable.
func marked(types []string) bool {
	for _, m := range marks() {
		if slices.ContainsFunc(types, func(t string) bool { return slices.Contains(m.types, t) }) {
			return true
		}
	}
	return false
}

// StrayLink gives a link of a's versions that leads elsewhere than origin, as
// one does when a service does not know that TLS ends before it, or has one
// host's URL in its configuration. Empty when there is none.
func (a Answer) StrayLink(origin string) string {
	want, err := Locate(origin)
	if err != nil {
		return ""
	}
	for _, v := range a.versions() {
		at, err := Locate(v.self())
		if err == nil && at.Origin() != want.Origin() {
			return v.self()
		}
	}
	return ""
}
