package traffic

import (
	"bytes"
	"time"
)

// A Line is what a line of HAProxy's log is about.
type Line uint8

// The kinds of lines.
const (
	OtherLine     Line = iota // of no request: a host that goes down, or what cannot be read
	RequestLine               // of an http request
	SessionLine               // of a TCP session
	HandshakeLine             // of a connection whose TLS handshake failed
)

// Parse reads a line of HAProxy's log, in the format of "option httplog" or "option tcplog"
// (configuration manual 8.2.2 and 8.2.3, the same from 2.4 to 3.2), without syslog's header.
// The line may be cut short behind the termination state. It allocates nothing; r has parts
// of line.
func Parse(line []byte, r *Record) Line {
	*r = Record{}
	c := cursor{bytes.TrimRight(line, "\r\n\x00")}
	client := c.field()
	if bytes.IndexByte(client, ':') < 0 && !bytes.HasPrefix(client, []byte("unix")) {
		return OtherLine
	}
	if date := c.field(); len(date) < 2 || date[0] != '[' {
		return OtherLine
	}
	r.Frontend = c.field()
	if n := len(r.Frontend); n > 0 && r.Frontend[n-1] == ':' {
		return handshake(r, c)
	}
	r.Frontend = bytes.TrimSuffix(r.Frontend, []byte("~")) // TLS
	slash := bytes.IndexByte(c.rest, '/')
	if slash < 0 || len(r.Frontend) == 0 {
		return OtherLine
	}
	both := c.field()
	if slash = bytes.IndexByte(both, '/'); slash <= 0 || slash == len(both)-1 {
		return OtherLine
	}
	r.Backend, r.Server = both[:slash], both[slash+1:]
	timers := c.field()
	switch bytes.Count(timers, []byte("/")) {
	case 4:
		return request(r, c, timers)
	case 2:
		return session(r, c, timers)
	}
	return OtherLine
}

// handshake reads "api-v4-nova/1: SSL handshake failure".
func handshake(r *Record, c cursor) Line {
	i := bytes.IndexByte(r.Frontend, '/')
	if i <= 0 || !bytes.Contains(c.rest, []byte("handshake")) {
		return OtherLine
	}
	r.Frontend = r.Frontend[:i]
	return HandshakeLine
}

// request reads what follows the hosts: TR/Tw/Tc/Tr/Ta, status, octets, two cookies, the
// termination state, connections, queues, and the request in quotes.
func request(r *Record, c cursor, timers []byte) Line {
	for i, at := range [...]*time.Duration{&r.Request, &r.Queue, &r.Connect, &r.Response, &r.Total} {
		n, rest, ok := number(timers, i < 4)
		if !ok {
			return OtherLine
		}
		*at, timers = time.Duration(n)*time.Millisecond, rest
	}
	status, rest, ok := number(c.field(), false)
	if !ok || len(rest) > 0 || status > 999 {
		return OtherLine
	}
	r.Status = int(max(status, 0))
	c.field() // octets
	c.field() // the cookies of the request
	c.field() // and of the answer
	if !r.ends(c.field(), 4) {
		return OtherLine
	}
	r.retries(c.field())
	c.field() // queues
	r.Asked = captured(c)
	r.Bad = bytes.HasSuffix(c.rest, []byte(`"<BADREQ>"`))
	return RequestLine
}

// captured reads the second of what was captured of the request, "{id|service} {id of the
// answer}": the service that was asked for, where a frontend is of many; nil for none.
func captured(c cursor) []byte {
	if len(c.rest) == 0 || c.rest[0] != '{' {
		return nil
	}
	all, _, closed := bytes.Cut(c.field()[1:], []byte("}"))
	_, second, more := bytes.Cut(all, []byte("|"))
	if !closed || !more {
		return nil
	}
	return second
}

// session reads what follows the hosts: Tw/Tc/Tt, octets, the termination state, connections.
func session(r *Record, c cursor, timers []byte) Line {
	r.TCP, r.Request, r.Response = true, -1, -1
	for i, at := range [...]*time.Duration{&r.Queue, &r.Connect, &r.Total} {
		n, rest, ok := number(timers, i < 2)
		if !ok {
			return OtherLine
		}
		*at, timers = time.Duration(n)*time.Millisecond, rest
	}
	c.field() // octets
	if !r.ends(c.field(), 2) {
		return OtherLine
	}
	r.retries(c.field())
	return SessionLine
}

// ends reads a termination state of that many letters.
func (r *Record) ends(term []byte, letters int) bool {
	if len(term) != letters {
		return false
	}
	r.Term = [2]byte{term[0], term[1]}
	return true
}

// retries reads the last of "actconn/feconn/beconn/srv_conn/retries", which has a "+" where
// the last retry went to another host. A line that was cut short has none.
func (r *Record) retries(conns []byte) {
	if bytes.Count(conns, []byte("/")) != 4 {
		return
	}
	last := conns[bytes.LastIndexByte(conns, '/')+1:]
	last, r.Redispatched = bytes.CutPrefix(last, []byte("+"))
	if n, rest, ok := number(last, false); ok && len(rest) == 0 && n > 0 {
		r.Retries = int(n)
	}
}

// A cursor reads fields, which have a space between them.
type cursor struct{ rest []byte }

// field gives the next one, empty where there is no more.
func (c *cursor) field() []byte {
	i := bytes.IndexByte(c.rest, ' ')
	if i < 0 {
		field := c.rest
		c.rest = nil
		return field
	}
	field := c.rest[:i]
	c.rest = c.rest[i+1:]
	return field
}

// maxNumber is more than any number that is looked at: a month in milliseconds.
const maxNumber = 1 << 32

// number reads a decimal number, "+" before it or "-1", with a "/" behind it where more
// follows, and gives what is behind that.
func number(text []byte, more bool) (n int64, rest []byte, ok bool) {
	negative := false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		negative = text[0] == '-'
		text = text[1:]
	}
	i := 0
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		if n = n*10 + int64(text[i]-'0'); n > maxNumber {
			return 0, nil, false
		}
	}
	if i == 0 || more != (i < len(text)) || more && text[i] != '/' {
		return 0, nil, false
	}
	if negative {
		n = -n
	}
	if more {
		i++
	}
	return n, text[i:], true
}
