package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

// parts are the fragments of the page that a stream keeps up to date; each is a
// template, and the id of the element that it fills.
func parts() []string {
	return []string{"head", "findings", "map", "work", "incidents", "history", "services", "controllers", "events", "clock"}
}

// A page renders views as HTML.
type page struct {
	tmpl  *template.Template
	stamp string // of the assets: browsers may keep them until it changes
	err   error  // of the embedded files; only a broken build has one
}

func newPage() page {
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
	return page{tmpl: tmpl, stamp: fmt.Sprintf("%.6x", sum.Sum(nil)), err: err}
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

// render fills one template; "page.html" is the whole page.
func (p page) render(name string, m model) ([]byte, error) {
	if p.err != nil {
		return nil, fmt.Errorf("read the page's templates: %w", p.err)
	}
	var out bytes.Buffer
	if err := p.tmpl.ExecuteTemplate(&out, name, m); err != nil {
		return nil, fmt.Errorf("render the page: %w", err)
	}
	return out.Bytes(), nil
}

// lamp is the one file that the pages of other controllers may load: by it they learn
// whether somebody answers here, and nothing else.
const lamp = "icon.svg"

// policy gives the page's Content-Security-Policy. The page may look whether the pages of
// the other controllers of targets answer, and go there; it reads nothing of them.
func policy(targets []Target) string {
	images := " 'self'"
	for _, t := range targets {
		at, err := netip.ParseAddrPort(t.Addr)
		switch {
		case err != nil:
		case at.Addr().Is4():
			images += " http://" + at.String()
		case !strings.HasSuffix(images, " http:"):
			images += " http:" // no address of IPv6 can be named in a policy
		}
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src" + images + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// serveAsset answers with an embedded file.
func (p page) serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, err := assets.ReadFile("assets/" + name)
	if err != nil || path.Ext(name) == ".html" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "max-age=86400")
	if name == lamp {
		w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	w.Write(data) //nolint:errcheck // the client is gone
}

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	m := s.model(s.views.get(r.Context()))
	m.Stamp = s.page.stamp
	body, err := s.page.render("page.html", m)
	if err != nil {
		s.opt.Log.Error("the page cannot be shown", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy(s.opt.Controllers()))
	w.Write(body) //nolint:errcheck // the client is gone
}
