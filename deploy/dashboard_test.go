package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

const dashboardFile = "grafana/holdfast.json"

// A dashboard is what of Grafana's model is held to something.
type dashboard struct {
	Title      string `json:"title"`
	UID        string `json:"uid"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Panels []panel `json:"panels"`
}

type panel struct {
	ID      int    `json:"id"`
	Type    string `json:"type"`
	Title   string `json:"title"`
	GridPos place  `json:"gridPos"`
	Targets []struct {
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
		RefID  string `json:"refId"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

type place struct{ X, Y, W, H int }

func (p place) overlaps(o place) bool {
	return p.X < o.X+o.W && o.X < p.X+p.W && p.Y < o.Y+o.H && o.Y < p.Y+p.H
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(read(t, dashboardFile), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Queries gives all that d asks Prometheus, by where that stands.
func (d dashboard) queries() map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all["panel "+p.Title+", "+q.RefID] = q.Expr
		}
	}
	for _, a := range d.Annotations.List {
		all["annotation "+a.Name] = a.Expr
	}
	return all
}

// TestDashboardIsOfMetrics holds each query to the metrics that there are,
// and to the clouds that are chosen.
func TestDashboardIsOfMetrics(t *testing.T) {
	there, d := metrics(t), readDashboard(t)
	all := d.queries()
	if len(all) < 20 {
		t.Errorf("it asks for %d things only", len(all))
	}
	for where, query := range all {
		there.check(t, where, query)
		if strings.Count(query, `job=~"$job"`) == 0 {
			t.Errorf("%s is of every cloud, not of those that are chosen", where)
		}
	}
}

// TestDashboardIsWhole has each panel have a place and a number of its own.
func TestDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	if d.Title != "holdfast" || d.UID != "holdfast" {
		t.Errorf("it is called %s, %s", d.Title, d.UID)
	}
	for i, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s is wider than a page", p.Title)
		}
		if slices.ContainsFunc(d.Panels[i+1:], func(o panel) bool { return o.ID == p.ID || p.GridPos.overlaps(o.GridPos) }) {
			t.Errorf("%s has the place, or the number, of another one", p.Title)
		}
	}
}

// TestDashboardIsUnderstood has Prometheus read every query.
func TestDashboardIsUnderstood(t *testing.T) {
	var g group
	g.Name = "dashboard"
	for _, query := range readDashboard(t).queries() {
		query = strings.NewReplacer("$__rate_interval", "1m", "$job", ".*").Replace(query)
		g.Rules = append(g.Rules, rule{Alert: "Query", Expr: query})
	}
	text, err := yaml.Marshal(rules{Groups: []group{g}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool(t), "check", "rules", "--lint=none", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
}
