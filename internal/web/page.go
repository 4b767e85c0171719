package web

import (
	"mime"
	"net/http"
	"net/netip"
	"path"
	"strings"

	"holdfast/internal/web/page"
)

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
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, ok := page.Asset(name)
	if !ok {
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

func (s *Server) model(v view) page.Model {
	return page.ModelOf(page.View{
		Self: s.opt.Self, Version: s.opt.Snapshot().Version, Cloud: v.cloud,
		Events: v.events, Incidents: v.incidents, Hours: v.pasts.hour, Days: v.pasts.day,
	})
}

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	m := s.model(s.views.get(r.Context()))
	m.Stamp = s.page.Stamp()
	body, err := s.page.Render("page.html", m)
	if err != nil {
		s.opt.Log.Error("the page cannot be shown", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy(s.opt.Controllers()))
	w.Write(body) //nolint:errcheck // the client is gone
}
