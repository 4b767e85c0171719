package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

const (
	// maxStreams is how many pages are kept up to date at the same time; more
	// are told to reload themselves.
	maxStreams = 64
	// streamInterval is how often a stream looks for what has changed.
	streamInterval = time.Second
)

//go:embed assets
var assets embed.FS

// parts are the fragments of the page that a stream keeps up to date; each is a
// template, and the id of the element that it fills.
func parts() []string {
	return []string{"head", "findings", "vips", "controllers", "services", "events", "clock"}
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
		"clock":     func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
		"moment":    moment,
		"breakable": breakable,
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
	w.Write(body) //nolint:errcheck // the client is gone
}

// serveStream sends the fragments of the page, and again each that changes, as
// server-sent events, until the client leaves or the agent ends.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many pages are open already", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := stream{w, http.NewResponseController(w)}
	if r.Method == http.MethodHead || out.send([]byte("retry: 1000\n\n")) != nil {
		return
	}
	sent := map[string]string{}
	ticker := time.NewTicker(streamInterval)
	defer ticker.Stop()
	for {
		if err := sendNew(out, s.fragmentsOf(s.views.get(r.Context())), sent); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// fragments are the parts of the page for one view, made once for all streams.
type fragments struct {
	once sync.Once
	all  []fragment
}

// A fragment is one part of the page, as the page's script takes it.
type fragment struct {
	ID    string `json:"id"`
	HTML  string `json:"html"`
	Title string `json:"title"` // of the whole page
}

func (s *Server) fragmentsOf(v view) []fragment {
	if v.fragments == nil { // nobody has looked yet
		return nil
	}
	v.fragments.once.Do(func() {
		m := s.model(v).steady()
		for _, name := range parts() {
			html, err := s.page.render(name, m)
			if err != nil {
				s.opt.Log.Error("the page cannot be shown", "error", err)
				return
			}
			v.fragments.all = append(v.fragments.all, fragment{name, string(html), m.Title})
		}
	})
	return v.fragments.all
}

// sendNew sends each fragment that is not in sent as it is now.
func sendNew(out stream, all []fragment, sent map[string]string) error {
	for _, f := range all {
		if sent[f.ID] == f.HTML {
			continue
		}
		data, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("encode a fragment: %w", err)
		}
		if err := out.send(fmt.Appendf(nil, "event: part\ndata: %s\n\n", data)); err != nil {
			return err
		}
		sent[f.ID] = f.HTML
	}
	return nil
}
