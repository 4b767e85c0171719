// Package page has what a controller's page shows of a look at the cloud: words, tones and
// pictures, and the templates that make HTML of them. It decides nothing of the cloud, asks
// nobody and serves nothing.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

// Parts are the fragments of the page that a stream keeps up to date; each is a
// template, and the id of the element that it fills.
func Parts() []string {
	return []string{"head", "findings", "map", "work", "incidents", "history", "services", "controllers", "events", "clock"}
}

// A Page renders Models as HTML.
type Page struct {
	tmpl  *template.Template
	stamp string // of the assets
	err   error  // of the embedded files; only a broken build has one
}

// New makes a Page. What is wrong with the files that are built in, Render says.
func New() Page {
	tmpl, err := template.New("page.html").Funcs(template.FuncMap{
		"glyph":     glyph,
		"stamp":     func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"clock":     clock,
		"moment":    moment,
		"breakable": breakable,
		"dotted":    dotted,
	}).ParseFS(assets, "assets/page.html")
	sum := sha256.New()
	for _, name := range []string{"assets/style.css", "assets/live.js"} {
		data, readErr := assets.ReadFile(name)
		if readErr != nil {
			err = readErr
		}
		sum.Write(data)
	}
	return Page{tmpl: tmpl, stamp: fmt.Sprintf("%.6x", sum.Sum(nil)), err: err}
}

// breakable gives a host's name as HTML that may be broken before its number.
func breakable(name string) template.HTML {
	head := strings.TrimRight(name, "0123456789")
	return template.HTML(template.HTMLEscapeString(head) + "<wbr>" + template.HTMLEscapeString(name[len(head):])) //nolint:gosec // both parts are escaped
}

// dotted gives a name of DNS as HTML that may be broken after its dots.
func dotted(name string) template.HTML {
	return template.HTML(strings.ReplaceAll(template.HTMLEscapeString(name), ".", ".<wbr>")) //nolint:gosec // it is escaped
}

// Render fills one template; "page.html" is the whole page.
func (p Page) Render(name string, m Model) ([]byte, error) {
	if p.err != nil {
		return nil, fmt.Errorf("read the page's templates: %w", p.err)
	}
	var out bytes.Buffer
	if err := p.tmpl.ExecuteTemplate(&out, name, m); err != nil {
		return nil, fmt.Errorf("render the page: %w", err)
	}
	return out.Bytes(), nil
}

// Stamp is that of the assets, for the Stamp of a Model: browsers keep what they have of an
// asset until it changes.
func (p Page) Stamp() string { return p.stamp }

// Asset gives a file that the page loads, by its name; false for what is none.
func Asset(name string) ([]byte, bool) {
	data, err := assets.ReadFile("assets/" + name)
	return data, err == nil && path.Ext(name) != ".html"
}
