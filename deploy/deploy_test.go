// Package deploy_test holds what monitoring systems are given to the agent: each alert is of a
// kind of finding, and each query is of metrics that there are.
package deploy_test

import (
	"bytes"
	"cmp"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"holdfast/internal/status"
)

const (
	rulesFile = "prometheus/holdfast.rules.yml"
	// metricsFile has every metric of an agent, held to them by a test of package web.
	metricsFile = "../internal/web/testdata/metrics.txt"
)

// Rules are a file of Prometheus's rules.
type rules struct {
	Groups []group `yaml:"groups"`
}

type group struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var r rules
	decoder := yaml.NewDecoder(bytes.NewReader(read(t, rulesFile)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range r.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestAlertsAreOfFindings has an alert for each kind of finding that a person has to act on,
// and for no other, as urgent as the finding is.
func TestAlertsAreOfFindings(t *testing.T) {
	severities := map[string][]string{} // of the alerts of each code
	entries := string(read(t, "../docs/troubleshooting.md"))
	for _, a := range alerts(t) {
		code := a.Labels["code"]
		if a.Alert != "Holdfast"+camelCase(code) {
			t.Errorf("the alert of %s is called %s", code, a.Alert)
		}
		if a.Annotations["summary"] == "" || strings.ContainsAny(a.Annotations["summary"], "\n") {
			t.Errorf("%s has no summary of one line", a.Alert)
		}
		if a.Annotations["runbook"] != "docs/troubleshooting.md#"+code || !strings.Contains(entries, "\n### "+code+"\n") {
			t.Errorf("%s has the runbook %s, which there is not", a.Alert, a.Annotations["runbook"])
		}
		severities[code] = append(severities[code], a.Labels["severity"])
	}
	for _, c := range status.FindingCodes() {
		want := wantedSeverities(c)
		if got := severities[c.Code]; !slices.Equal(want, got) && (len(want) != 2 || !slices.Equal(got, []string{either})) {
			t.Errorf("the alerts of %s are %q, want %q", c.Code, got, want)
		}
		delete(severities, c.Code)
	}
	for code := range severities {
		t.Errorf("there is an alert of %q, which is no kind of finding", code)
	}
}

// either is the severity of an alert whose finding may be for now.
const either = `{{ if eq $labels.severity "error" }}critical{{ else }}warning{{ end }}`

// wantedSeverities gives those of the alerts of a kind of finding, none for one that nobody
// has to act on.
func wantedSeverities(c status.FindingCode) []string {
	as := map[status.Action]string{status.ActNow: "critical", status.ActSoon: "warning"}
	var all []string
	for _, severity := range []status.Severity{status.Error, status.Warning, status.Info} {
		if c.Severity != "" && c.Severity != severity {
			continue
		}
		word := as[status.ActionFor(status.Finding{Code: c.Code, Severity: severity})]
		if word != "" && !slices.Contains(all, word) {
			all = append(all, word)
		}
	}
	return all
}

// camelCase gives "VIPHeldTwice" for "vip-held-twice".
func camelCase(code string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(code, "-") {
		special := map[string]string{"vip": "VIP", "haproxy": "HAProxy", "bgp": "BGP"}
		if word != "" {
			b.WriteString(cmp.Or(special[word], strings.ToUpper(word[:1])+word[1:]))
		}
	}
	return b.String()
}

// TestEveryAlertIsTested has promtool's tests fire each alert.
func TestEveryAlertIsTested(t *testing.T) {
	tests := ""
	for _, path := range testFiles(t) {
		tests += string(read(t, path))
	}
	for _, a := range alerts(t) {
		for _, severity := range []string{"critical", "warning"} {
			if a.Labels["severity"] != severity && a.Labels["severity"] != either {
				continue
			}
			if want := `{code="` + a.Labels["code"] + `", severity="` + severity + `"}`; !strings.Contains(tests, want) {
				t.Errorf("no test fires %s as %s", a.Alert, want)
			}
		}
	}
}

func TestAlertsAreOfMetrics(t *testing.T) {
	there := metrics(t)
	for _, a := range alerts(t) {
		there.check(t, a.Alert, a.Expr)
	}
}

// Series are the metrics of an agent: of each its labels, and their values as far as known.
type series map[string]map[string][]string

func metrics(t *testing.T) series {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(read(t, metricsFile)))
	if err != nil {
		t.Fatal(err)
	}
	all := series{}
	for name, f := range families {
		labels := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		names := []string{name}
		if f.GetType().String() == "HISTOGRAM" {
			names = []string{name + "_sum", name + "_count", name + "_bucket"}
			labels["le"] = nil
		}
		for _, n := range names {
			all[n] = labels
		}
	}
	return all
}

var (
	metricIn   = regexp.MustCompile(`\b(?:holdfast|process|go)_[a-z_]+\b|\bup\b|\bALERTS\b`)
	selectorIn = regexp.MustCompile(`\b(holdfast_[a-z_]+)\{([^}]*)\}`)
	matcherIn  = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	groupingIn = regexp.MustCompile(`\b(?:by|on|without|group_left|group_right|ignoring) \(([^)]*)\)`)
	// closed are labels whose values there are only so many of.
	closed = []string{"state", "condition", "severity"}
	// scraped are the labels that Prometheus gives, besides what holdfast_info tells of an agent.
	scraped = []string{"job", "instance", "cloud", "controller", "le"}
)

// check holds a query to what there is.
func (s series) check(t *testing.T, where, query string) {
	t.Helper()
	used := metricIn.FindAllString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(query, `""`), -1)
	if len(used) == 0 {
		t.Errorf("%s asks for no metric: %s", where, query)
	}
	labels := slices.Clone(scraped)
	for _, name := range used {
		if strings.HasPrefix(name, "holdfast_") && s[name] == nil {
			t.Errorf("%s uses %s, which is no metric", where, name)
		}
		labels = slices.AppendSeq(labels, maps.Keys(s[name]))
	}
	for _, selector := range selectorIn.FindAllStringSubmatch(query, -1) {
		s.checkSelector(t, where, selector[1], selector[2])
	}
	for _, grouping := range groupingIn.FindAllStringSubmatch(query, -1) {
		for name := range strings.SplitSeq(grouping[1], ",") {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(labels, name) {
				t.Errorf("%s groups by %s, a label that none of its metrics has", where, name)
			}
		}
	}
}

func (s series) checkSelector(t *testing.T, where, metric, matchers string) {
	t.Helper()
	for _, m := range matcherIn.FindAllStringSubmatch(matchers, -1) {
		label, operator, value := m[1], m[2], m[3]
		values, has := s[metric][label]
		switch {
		case slices.Contains(scraped, label):
		case !has:
			t.Errorf("%s asks for the label %s of %s, which it has not", where, label, metric)
		case metric == "holdfast_finding" && operator == "=" && label == "code" && status.ActionOf(value) == "":
			t.Errorf("%s asks for findings of the code %s, which there is not", where, value)
		case operator == "=" && slices.Contains(closed, label) && !slices.Contains(values, value):
			t.Errorf("%s asks for the %s %q of %s, which has %q", where, label, value, metric, slices.Compact(slices.Sorted(slices.Values(values))))
		}
	}
}

// TestCheckFinds has the check be able to fail.
func TestCheckFinds(t *testing.T) {
	there := metrics(t)
	for query, want := range map[string]bool{
		`holdfast_vip_state{state="active"} == 1`: true,
		`holdfast_vip_state{state="master"} == 1`: false,
		`holdfast_vip_state{status="active"}`:     false,
		`holdfast_vip_stat`:                       false,
		`sum by (vip) (holdfast_vip_state)`:       true,
		`sum by (host) (holdfast_vip_state)`:      false,
		`holdfast_finding{code="disk-full"} > 0`:  true,
		`holdfast_finding{code="disk-empty"} > 0`: false,
		`1 > 0`: false,
		`up == 0 and on (instance) process_start_time_seconds`: true,
	} {
		if told := new(testing.T); wellSaid(told, func() { there.check(told, "it", query) }) != want {
			t.Errorf("%s is taken for good: %v", query, !want)
		}
	}
}

func wellSaid(t *testing.T, do func()) bool {
	do()
	return !t.Failed()
}

// TestPromtool runs Prometheus's own tests of the rules.
func TestPromtool(t *testing.T) {
	tool := exec.CommandContext(t.Context(), promtool(t), append([]string{"test", "rules"}, testFiles(t)...)...)
	if out, err := tool.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("prometheus/*.test.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("there is no test of the rules ", err)
	}
	return files
}

// promtool gives the path of Prometheus's tool.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool, of Debian's package prometheus: ", err)
	}
	return path
}
