package importer

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"holdfast/internal/keystone"
	"holdfast/internal/keystone/keystonetest"
	"holdfast/internal/status"
)

var update = flag.Bool("update", false, "write the golden files anew")

// dump shows what was read, one endpoint and one finding a line.
func dump(endpoints []keystone.Endpoint, findings []status.Finding) string {
	var b strings.Builder
	for _, e := range endpoints {
		state := "enabled"
		if !e.Enabled {
			state = "disabled"
		}
		fmt.Fprintf(&b, "%d: id=%q region=%q name=%q type=%q %s interface=%q %s\n",
			e.Row, e.ID, e.Region, e.ServiceName, e.ServiceType, state, e.Interface, e.URL)
	}
	for _, f := range findings {
		fmt.Fprintf(&b, "%s %s [%s]\n", f.Severity, f, f.Code)
		if f.Line != "" {
			fmt.Fprintf(&b, "\t%s\n", f.Line)
		}
	}
	return b.String()
}

func TestParseListing(t *testing.T) {
	keystonetest.Golden(t, "listing", *update, func(_ *testing.T, a *txtar.Archive) string {
		return dump(ParseListing(a.Files[0].Name, a.Files[0].Data))
	})
}

// The same listing gives the same endpoints in whatever encoding it comes.
func TestParseListingEncodings(t *testing.T) {
	a, err := txtar.ParseFile("testdata/listing/table-proposal.txtar")
	if err != nil {
		t.Fatal(err)
	}
	text := a.Files[0].Data
	want, _ := ParseListing("list", text)
	crlf := bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	for name, data := range map[string][]byte{
		"CRLF":           crlf,
		"CR":             bytes.ReplaceAll(text, []byte("\n"), []byte("\r")),
		"UTF-8 with BOM": append([]byte("\xef\xbb\xbf"), crlf...),
		"UTF-16LE":       encodeUTF16(crlf, binary.LittleEndian),
		"UTF-16BE":       encodeUTF16(crlf, binary.BigEndian),
		"no-break space": bytes.ReplaceAll(text, []byte(" "), []byte("\u00a0")),
		"indented":       append([]byte("\t    "), bytes.ReplaceAll(text, []byte("\n"), []byte("\n\t    "))...),
		"no last end":    bytes.TrimRight(text, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := ParseListing("list", data)
			if len(findings) > 0 {
				t.Errorf("findings: %v", findings)
			}
			if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool {
				return p.Last().String() == ".Text"
			}, cmp.Ignore())); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func encodeUTF16(text []byte, order binary.AppendByteOrder) []byte {
	out := order.AppendUint16(nil, 0xfeff)
	for _, u := range utf16.Encode([]rune(string(text))) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// A listing of only bad rows stays readable: a bounded number of findings.
func TestParseListingBounds(t *testing.T) {
	var b strings.Builder
	b.WriteString("\"Service Name\",\"URL\"\n")
	for range 1000 {
		b.WriteString("\"glance\"\n")
	}
	endpoints, findings := ParseListing("list.csv", []byte(b.String()))
	if len(endpoints) != 0 || len(findings) != maxUnreadable+2 {
		t.Errorf("got %d endpoints and %d findings, want 0 and %d", len(endpoints), len(findings), maxUnreadable+2)
	}
	_, findings = ParseListing("big", make([]byte, MaxListing+1))
	if len(findings) != 1 || findings[0].Code != "too-large" {
		t.Errorf("a listing beyond the bound: got %v", findings)
	}
}

func FuzzParseListing(f *testing.F) {
	paths, err := filepath.Glob("testdata/listing/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(a.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		endpoints, findings := ParseListing("list", data)
		lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + 1
		if len(endpoints) > len(data)/2 || len(findings) > maxUnreadable+20 {
			t.Fatalf("%d endpoints and %d findings of %d bytes", len(endpoints), len(findings), len(data))
		}
		if none := len(endpoints) == 0; none != (status.Worst(findings) == status.Error) {
			t.Fatalf("%d endpoints, but the worst finding is %q", len(endpoints), status.Worst(findings))
		}
		for _, e := range endpoints {
			if e.Row < 1 || e.Row > lines || e.URL == "" || e.ServiceName == "" && e.ServiceType == "" {
				t.Fatalf("bad endpoint %+v of %d lines", e, lines)
			}
		}
	})
}
