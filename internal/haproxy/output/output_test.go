package output_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/haproxy/output"
)

// replies gives what HAProxy 2.4, 2.6 and 3.2 answered to one command, by version.
func replies(t testing.TB, command string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../testdata/replies/" + command + "-*")
	if err != nil || len(files) < 3 {
		t.Fatalf("replies to %s: %v, %v", command, files, err)
	}
	all := make(map[string][]byte)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), command+"-"), filepath.Ext(f))] = data
	}
	return all
}

func TestParseStat(t *testing.T) {
	for version, reply := range replies(t, "stat") {
		t.Run(version, func(t *testing.T) {
			rows, err := output.ParseStat(reply)
			if err != nil || len(rows) != 4 {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			if rows[0].Kind != output.KindFrontend || rows[0].Proxy != "api-v4-nova" || rows[3].Kind != output.KindBackend {
				t.Errorf("rows %+v", rows)
			}
			up, down := rows[1], rows[2]
			if up.Kind != output.KindServer || up.Name != "ctl1" || up.Status != "UP" || up.CheckStatus != "L7OK" || up.CheckCode != 200 ||
				up.Weight != 16 || up.ID != 1 || up.Total != 1 || up.Responses != [6]uint64{2: 1} {
				t.Errorf("up: %+v", up)
			}
			if down.Status != "DOWN" || down.CheckStatus != "L4CON" || down.CheckText != "Connection refused" || down.Downs != 1 || down.Since != time.Second {
				t.Errorf("down: %+v", down)
			}
			for cut := range reply {
				if rows, err := output.ParseStat(reply[:cut]); err == nil && len(rows) == 4 {
					if rest := string(reply[cut:]); strings.TrimSpace(rest) != "" {
						t.Errorf("cut before %q: no error", rest)
					}
				}
			}
		})
	}
	for _, bad := range []string{"", "\n", "# pxname,svname\na,b\n", "Permission denied\n", "# pxname,svname,status\na,b\n"} {
		if rows, err := output.ParseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %v, want an error", bad, rows)
		}
	}
	rows, err := output.ParseStat([]byte("# new,status,svname,pxname,\nx,UP,ctl1,nova,\n\n"))
	if err != nil || len(rows) != 1 || rows[0].Name != "ctl1" {
		t.Errorf("other columns: %+v, %v", rows, err)
	}
}

func TestParseInfo(t *testing.T) {
	for version, reply := range replies(t, "info") {
		i, err := output.ParseInfo(reply)
		if err != nil || !strings.HasPrefix(i.Version, version) || i.PID == 0 || i.MaxConn != 100 || i.MaxSock < 200 || i.Stopping {
			t.Errorf("%s: %+v, %v", version, i, err)
		}
	}
	for _, bad := range []string{"", "Name: HAProxy\n", "Pid: 12", "Pid: -1\n", "Pid: 99999999999999999999\n"} {
		if i, err := output.ParseInfo([]byte(bad)); err == nil {
			t.Errorf("%q: %+v, want an error", bad, i)
		}
	}
}

func TestParseProc(t *testing.T) {
	for version, reply := range replies(t, "proc") {
		p, err := output.ParseProc(reply)
		if err != nil {
			t.Errorf("%s: %v", version, err)
			continue
		}
		if p.Master.PID == 0 || p.Master.Reloads != 1 || p.Master.Failed != 0 || !strings.HasPrefix(p.Master.Version, version) {
			t.Errorf("%s: master %+v", version, p.Master)
		}
		if len(p.Workers) != 1 || p.Workers[0].Reloads != 0 || len(p.Old) != 1 || p.Old[0].Reloads != 1 || p.Old[0].Uptime < time.Second {
			t.Errorf("%s: workers %+v, old %+v", version, p.Workers, p.Old)
		}
	}
	failed := "#<PID> <type> <reloads> <uptime> <version>\n14368 master 2 [failed: 1] 1d02h03m04s 2.6.12\n# workers\n16811 worker 1 0d00h00m02s 2.6.12\n# programs\n9 sidecar 0 0d00h00m02s -\n\n"
	p, err := output.ParseProc([]byte(failed))
	want := output.Processes{
		Master:  output.Process{PID: 14368, Reloads: 2, Failed: 1, Uptime: 26*time.Hour + 3*time.Minute + 4*time.Second, Version: "2.6.12"},
		Workers: []output.Process{{PID: 16811, Reloads: 1, Uptime: 2 * time.Second, Version: "2.6.12"}},
	}
	if d := cmp.Diff(want, p); d != "" || err != nil {
		t.Errorf("a failed reload: %v\n%s", err, d)
	}
	for _, bad := range []string{"", "# workers\n1 worker 0 0d00h00m02s 2.6\n", "x master 0 0d00h00m02s 2.6\n", "1 master 0 [failed: 0d00h00m02s\n"} {
		if p, err := output.ParseProc([]byte(bad)); err == nil {
			t.Errorf("%q: %+v, want an error", bad, p)
		}
	}
}

func TestParseMessages(t *testing.T) {
	const text = `[NOTICE]   (14368) : haproxy version is 2.6.12
[ALERT]    (14368) : config : parsing [/etc/a b.cfg:28] : 'hash-type' only supports 'consistent'.
[ALERT] 325/093000 (77) : parsing [x.cfg:3]: missing '=' after it
[WARNING]  (9) : config : backend 'a'
   | has more to say
[ALERT]    (14368) : config : Error(s) found in configuration file : a.cfg
[ALERT]    (14368) : config : Fatal errors found in configuration.
no form at all
[ALERT]`
	got := output.ParseMessages(text)
	want := []output.Message{
		{Severity: "NOTICE", PID: 14368, Text: "haproxy version is 2.6.12"},
		{Severity: "ALERT", PID: 14368, File: "/etc/a b.cfg", Line: 28, Text: "'hash-type' only supports 'consistent'."},
		{Severity: "ALERT", PID: 77, File: "x.cfg", Line: 3, Text: "missing '=' after it"},
		{Severity: "WARNING", PID: 9, Text: "backend 'a' | has more to say"},
		{Severity: "ALERT", PID: 14368, Text: "Error(s) found in configuration file : a.cfg"},
		{Severity: "ALERT", PID: 14368, Text: "Fatal errors found in configuration. no form at all [ALERT]"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if bad := output.Complaints(got); len(bad) != 3 || bad[0].String() != "line 28: 'hash-type' only supports 'consistent'." {
		t.Errorf("complaints: %v", bad)
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, r := range replies(f, "info") {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if i, err := output.ParseInfo(data); err == nil && (i.PID <= 0 || i.Conns < 0 || i.MaxConn < 0) {
			t.Errorf("%+v", i)
		}
	})
}

func FuzzParseProc(f *testing.F) {
	for _, r := range replies(f, "proc") {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := output.ParseProc(data)
		for _, w := range append(append([]output.Process{}, p.Workers...), p.Old...) {
			if w.PID <= 0 || w.Uptime < 0 {
				t.Errorf("%+v", w)
			}
		}
		if err == nil && p.Master.PID <= 0 {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzParseMessages(f *testing.F) {
	f.Add("[ALERT]    (1) : config : parsing [a:1] : x\n  y")
	f.Add("[WARNING]")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range output.ParseMessages(text) {
			if strings.ContainsAny(m.String(), "\n\r") || m.Line < 0 {
				t.Errorf("%q", m)
			}
		}
	})
}

func TestParseFingerprint(t *testing.T) {
	reply := "Filename: /c.pem\nStatus: Used\nAlgorithm: EC256\nSHA1 FingerPrint: 6BB103F519588B9D2473F27D425DAE23657BA4D7\nSubject: /CN=b\n"
	if got, err := output.ParseFingerprint([]byte(reply)); got != "6BB103F519588B9D2473F27D425DAE23657BA4D7" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "Filename: /c.pem\nStatus: Empty\n", "SHA1 FingerPrint: \n"} {
		if got, err := output.ParseFingerprint([]byte(bad)); err == nil {
			t.Errorf("%q: %q, want an error", bad, got)
		}
	}
}
