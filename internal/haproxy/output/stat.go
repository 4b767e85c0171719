// Package output reads what HAProxy answers on its sockets, and says on its standard
// error. It is pure, and knows of no spec: what a reply means of a service is package
// haproxy's.
package output

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Kind says what a row of "show stat" is about.
type Kind string

// The kinds of rows.
const (
	KindFrontend Kind = "frontend"
	KindBackend  Kind = "backend"
	KindServer   Kind = "server"
	KindListener Kind = "listener"
)

// A Row is one of "show stat" (management guide 9.1): a server in most
// uses, or a frontend, a backend or a listener, as Kind says. A column that
// HAProxy does not have, or left empty, is zero.
type Row struct {
	Kind    Kind
	Proxy   string // the frontend's or backend's name
	Name    string // the server's name
	Status  string // "UP", "UP 1/2", "DOWN", "DRAIN (agent)", "MAINT", "no check"
	ID      int
	Address string // address:port
	Weight  int
	Since   time.Duration // since Status changed last; whole seconds

	// The last health check. CheckStatus is "L7OK", "L7STS", "L4CON"…; see
	// the guide's column check_status.
	CheckStatus   string
	CheckRunning  bool // another check is under way
	CheckCode     int  // the HTTP status it saw; 0 for none
	CheckDuration time.Duration
	CheckText     string // what HAProxy says of it, or what the host answered
	CheckDesc     string // CheckStatus in HAProxy's words
	AgentStatus   string // of the last agent check
	AgentText     string // its answer
	Drained       bool   // not of "show stat": see MarkDrained

	Sessions  int // at the moment
	Queue     int
	Total     uint64    // sessions since the start
	Responses [6]uint64 // by first digit of the status code, 1 to 5; 0 is other
	Retries   uint64
	Redisp    uint64 // retries that went to another server
	ConnErr   uint64 // connections that failed
	RespErr   uint64 // answers that failed
	ClientErr uint64 // transfers the client gave up
	ServerErr uint64 // transfers the server gave up
	BytesIn   uint64
	BytesOut  uint64
	CheckFail uint64        // checks that failed while it was up
	Downs     uint64        // times it went down
	Downtime  time.Duration // in all

	// Of a frontend only.
	Refused   uint64 // requests that HAProxy refused by itself, or that did not come whole
	H2Headers uint64 // by HTTP/2: HEADERS frames that came,
	H2Streams uint64 // streams that were made of them,
	H2Resets  uint64 // and RST_STREAM frames that were sent
}

// ParseStat reads the reply to "show stat". Columns are found by their names,
// so new ones do no harm; pxname, svname and status must be there. A reply
// that was cut short is an error.
func ParseStat(reply []byte) ([]Row, error) { return ParseStatText(string(reply)) }

// ParseStatText is ParseStat of a string, which the rows share.
func ParseStatText(reply string) ([]Row, error) {
	body, ok := strings.CutPrefix(reply, "# ")
	if !ok {
		return nil, fmt.Errorf("show stat: no header line in %q", Excerpt([]byte(reply)))
	}
	if !strings.HasSuffix(body, "\n") {
		return nil, errors.New("show stat: the reply is cut short")
	}
	next := records(body)
	header, err := next()
	if err != nil {
		return nil, fmt.Errorf("show stat: header: %w", err)
	}
	cols, err := statColumns(header)
	if err != nil {
		return nil, err
	}
	width := len(header)
	rows := make([]Row, 0, strings.Count(body, "\n"))
	for {
		rec, err := next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("show stat: %w", err)
		}
		if len(rec) < width {
			return nil, fmt.Errorf("show stat: row %d has %d columns of %d; the reply is cut short", len(rows)+1, len(rec), width)
		}
		rows = append(rows, record{cols, rec}.row())
	}
}

// records gives the records of a table one by one, and io.EOF after the last; each is
// good until the next. HAProxy quotes a field only if it has a comma, a quote or a line
// end in it. Where none has, which is most often, commas are all there is to look for:
// this is read several times a second, and the reader that knows of quotes takes three
// times as long.
func records(table string) func() ([]string, error) {
	if strings.Contains(table, `"`) {
		r := csv.NewReader(strings.NewReader(table))
		r.FieldsPerRecord, r.LazyQuotes = -1, true
		return r.Read
	}
	var rec []string
	return func() ([]string, error) {
		for table != "" {
			var line string
			line, table, _ = strings.Cut(table, "\n")
			if line == "" {
				continue
			}
			rec = rec[:0]
			for i := strings.IndexByte(line, ','); i >= 0; i = strings.IndexByte(line, ',') {
				rec, line = append(rec, line[:i]), line[i+1:]
			}
			return append(rec, line), nil
		}
		return nil, io.EOF
	}
}

// statColumns gives the index of each column by its name.
func statColumns(header []string) (map[string]int, error) {
	cols := make(map[string]int, len(header))
	for i, name := range header {
		if _, ok := cols[name]; !ok && name != "" {
			cols[name] = i
		}
	}
	for _, name := range []string{"pxname", "svname", "status"} {
		if _, ok := cols[name]; !ok {
			return nil, fmt.Errorf("show stat: no column %q", name)
		}
	}
	return cols, nil
}

// A record is one row with the names of its columns.
type record struct {
	cols map[string]int
	rec  []string
}

// text gives a column.
func (r record) text(name string) string {
	if i, ok := r.cols[name]; ok {
		return r.rec[i]
	}
	return ""
}

// count gives a column's number, 0 for none and for what is no number.
func (r record) count(name string) uint64 {
	n, err := strconv.ParseUint(r.text(name), 10, 63)
	if err != nil {
		return 0
	}
	return n
}

func (r record) int(name string) int { return int(min(r.count(name), 1<<31-1)) }

func (r record) seconds(name string) time.Duration {
	return time.Duration(min(r.count(name), 1<<32)) * time.Second
}

func (r record) row() Row {
	check, running := strings.CutPrefix(r.text("check_status"), "* ")
	agent, _ := strings.CutPrefix(r.text("agent_status"), "* ")
	s := Row{
		Kind: r.kind(), Proxy: r.text("pxname"), Name: r.text("svname"), Status: r.text("status"),
		ID: r.int("sid"), Address: r.text("addr"), Weight: r.int("weight"), Since: r.seconds("lastchg"),
		CheckStatus: check, CheckRunning: running, CheckCode: r.int("check_code"),
		CheckDuration: time.Duration(r.int("check_duration")) * time.Millisecond,
		CheckText:     r.text("last_chk"), CheckDesc: r.text("check_desc"),
		AgentStatus: agent, AgentText: r.text("last_agt"),
		Sessions: r.int("scur"), Queue: r.int("qcur"), Total: r.count("stot"),
		Retries: r.count("wretr"), Redisp: r.count("wredis"),
		ConnErr: r.count("econ"), RespErr: r.count("eresp"),
		ClientErr: r.count("cli_abrt"), ServerErr: r.count("srv_abrt"),
		BytesIn: r.count("bin"), BytesOut: r.count("bout"),
		CheckFail: r.count("chkfail"), Downs: r.count("chkdown"), Downtime: r.seconds("downtime"),
	}
	if s.Kind == KindFrontend {
		s.Refused = r.count("ereq")
		s.H2Headers, s.H2Streams, s.H2Resets = r.count("h2_headers_rcvd"), r.count("h2_backend_total_streams")+r.count("h2_total_streams"), r.count("h2_rst_stream_resp")
	}
	for i, name := range []string{"hrsp_other", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"} {
		s.Responses[i] = r.count(name)
	}
	return s
}

func (r record) kind() Kind {
	switch r.text("type") {
	case "0":
		return KindFrontend
	case "1":
		return KindBackend
	case "2":
		return KindServer
	case "3":
		return KindListener
	}
	switch r.text("svname") {
	case "FRONTEND":
		return KindFrontend
	case "BACKEND":
		return KindBackend
	}
	return KindServer
}

// Excerpt gives the beginning of b, for an error.
func Excerpt(b []byte) string {
	s, _, _ := strings.Cut(strings.TrimSpace(string(b[:min(len(b), 200)])), "\n")
	return s[:min(len(s), 80)]
}
