package importer

import (
	"fmt"
	"strings"

	"holdfast/internal/keystone"
	"holdfast/internal/status"
)

// column is one of the columns of "openstack endpoint list".
type column int

const (
	colOther column = iota // one that says nothing we need
	colID
	colRegion
	colName
	colType
	colEnabled
	colInterface
	colURL
)

// standardColumns is the order in which the client prints them all.
func standardColumns() []column {
	return []column{colID, colRegion, colName, colType, colEnabled, colInterface, colURL}
}

// columnOf tells which column a heading names: as the client writes it
// ("Service Name"), or as "openstack endpoint show" and the API do
// ("service_name").
func columnOf(heading string) (column, bool) {
	switch strings.NewReplacer(" ", "", "_", "", `"`, "").Replace(strings.ToLower(heading)) {
	case "id":
		return colID, true
	case "region":
		return colRegion, true
	case "servicename":
		return colName, true
	case "servicetype":
		return colType, true
	case "enabled":
		return colEnabled, true
	case "interface":
		return colInterface, true
	case "url":
		return colURL, true
	}
	return colOther, false
}

// headings maps each of names to its column, and counts those that are known.
func headings(names []string) (columns []column, known int) {
	for _, name := range names {
		c, ok := columnOf(strings.TrimSpace(name))
		if ok {
			known++
		}
		columns = append(columns, c)
	}
	return columns, known
}

// usable reports whether rows with these columns can become endpoints, and
// says once what is missing when they cannot.
func (l *listing) usable(line int, columns []column, names []string) bool {
	has := map[column]bool{}
	for _, c := range columns {
		has[c] = true
	}
	switch {
	case has[colURL] && (has[colName] || has[colType]):
		return true
	case strings.Contains(strings.ToLower(strings.Join(names, " ")), "endpoints"):
		l.once(status.Error, line, status.CodeNotEndpointList, `this is "openstack catalog list", or the API's own answer`,
			fmt.Sprintf("give the output of %q", listCommand))
	case !has[colURL]:
		l.once(status.Error, line, status.CodeNoURLColumn, "the listing has no URL column",
			fmt.Sprintf("print it with %q, or add -c URL", listCommand))
	default:
		l.once(status.Error, line, status.CodeNoServiceColumn, "the listing names no services",
			fmt.Sprintf(`print it with %q, or add -c "Service Name" -c "Service Type"`, listCommand))
	}
	return false
}

// values is one row of a listing, by column.
type values map[column]string

// endpoint adds the row that begins on line as an Endpoint, or says why not.
func (l *listing) endpoint(line int, shown string, v values) {
	e := keystone.Endpoint{
		ID: absent(v[colID]), Region: absent(v[colRegion]),
		ServiceName: absent(v[colName]), ServiceType: absent(v[colType]),
		URL: absent(v[colURL]), Row: line, Text: shown,
	}
	var err error
	if e.Enabled, err = parseEnabled(v); err == nil {
		e.Interface, err = parseInterface(v)
	}
	switch {
	case err != nil:
	case e.URL == "":
		err = fmt.Errorf("it has no URL")
	case e.ServiceName == "" && e.ServiceType == "":
		err = fmt.Errorf("it names no service")
	}
	if err != nil {
		l.skip(line, shown, err.Error())
		return
	}
	if len(l.endpoints) == maxEndpoints {
		l.once(status.Warning, line, status.CodeTooMany, fmt.Sprintf("this and what follows is left out: %d endpoints are read already", maxEndpoints),
			"give the list of one region: openstack endpoint list --region NAME")
		return
	}
	l.endpoints = append(l.endpoints, e)
}

// absent gives "" for what the client prints where there is no value.
func absent(s string) string {
	s = strings.TrimSpace(s)
	if s == "None" || s == "null" {
		return ""
	}
	return s
}

func parseEnabled(v values) (bool, error) {
	s, ok := v[colEnabled]
	if !ok {
		return true, nil
	}
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("Enabled is %q, neither True nor False", strings.TrimSpace(s))
}

func parseInterface(v values) (string, error) {
	s, ok := v[colInterface]
	if !ok {
		return "", nil
	}
	switch i := strings.ToLower(strings.TrimSpace(s)); i {
	case "public", "internal", "admin":
		return i, nil
	}
	return "", fmt.Errorf("Interface is %q, none of public, internal and admin", strings.TrimSpace(s))
}

// show makes a line of a row that has none of its own.
func show(v values) string {
	var parts []string
	for _, c := range standardColumns()[1:] {
		if s := absent(v[c]); s != "" && c != colEnabled {
			parts = append(parts, s)
		}
	}
	if s := v[colEnabled]; strings.EqualFold(s, "false") {
		parts = append(parts, "(disabled)")
	}
	return strings.Join(parts, "  ")
}
