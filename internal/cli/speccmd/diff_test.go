package speccmd

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"holdfast/internal/status"
)

func TestDiffIsInTheContract(t *testing.T) {
	data, err := os.ReadFile("../../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## Diff\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var check func(reflect.Type)
	check = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of == reflect.TypeFor[status.Finding]() {
			return
		}
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				continue
			}
			if !regexp.MustCompile("`" + name + "`").MatchString(section) {
				t.Errorf("docs/json.md does not name the field %s of a diff", name)
			}
			check(f.Type)
		}
	}
	check(reflect.TypeFor[diffAnswer]())
}
