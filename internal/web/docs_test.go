package web

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/cloud"
)

// TestContractIsWritten proves that docs/json.md names every field and metric
// that there is, and no metric that there is not.
func TestContractIsWritten(t *testing.T) {
	data, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	fields := map[string]bool{}
	for _, v := range []any{cloud.Cloud{}, Events{}, AllJournals{}, Incidents{}, Clients{}, ReloadResult{}, InForce{}, PlanRequest{}, PlanResult{}, DrainRequest{}, DrainResult{}, HandoverRequest{}, HandoverResult{}, ControlError{}} {
		jsonFields(reflect.TypeOf(v), fields)
	}
	for name := range fields {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(doc) {
			t.Errorf("docs/json.md does not name the field %s", name)
		}
	}
	descs := make(chan *prometheus.Desc, 100)
	newCollector(nil).Describe(descs)
	newClientCollector(nil).Describe(descs)
	close(descs)
	var metrics []string
	for d := range descs {
		name := regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(d.String())[1]
		metrics = append(metrics, name)
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/json.md does not name the metric %s", name)
		}
	}
	for _, name := range regexp.MustCompile("`(holdfast_[a-z_]+)`").FindAllStringSubmatch(doc, -1) {
		if !slices.Contains(metrics, name[1]) {
			t.Errorf("docs/json.md names %s, which is no metric", name[1])
		}
	}
}

// jsonFields collects the names of all fields below t.
func jsonFields(t reflect.Type, into map[string]bool) {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		jsonFields(t.Elem(), into)
	}
	if t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() {
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				into[name] = true
				jsonFields(f.Type, into)
			}
		}
	}
}
