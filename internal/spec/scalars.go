package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v4"

	"holdfast/internal/catalog"
	"holdfast/internal/status"
)

// scalar gives the text of the single value v. It reports lists, mappings,
// nothing and places that are not filled in.
func (d *decoder) scalar(v value) (string, bool) {
	if !d.is(v, yaml.ScalarNode) || d.unfilled(v) {
		return "", false
	}
	if isNull(v.node) || v.node.Value == "" {
		d.fail(status.CodeWrongType, v.node, v.path+" has no value", v.hint.String())
		return "", false
	}
	if !strings.HasPrefix(v.node.Tag, "!!") || v.node.Tag == "!!binary" {
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s has the tag %s, which means nothing here", v.path, quote(v.node.Tag)), "remove the tag")
		return "", false
	}
	return v.node.Value, true
}

// text reads words: a number will do, true or false will not.
func (d *decoder) text(v value) item[string] {
	s, ok := d.scalar(v)
	switch {
	case !ok:
		return bad[string](v)
	case v.node.Tag == "!!bool":
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s is %s", v.path, kind(v.node)), v.hint.String()+", or put it in quotes, if that is the name")
		return bad[string](v)
	case strings.TrimSpace(s) != s || strings.ContainsFunc(s, unicode.IsControl):
		d.fail(status.CodeBadName, v.node, fmt.Sprintf("%s %s has blanks around it or a control character in it", v.path, quote(s)), "remove them")
		return bad[string](v)
	case len(s) > 255:
		d.fail(status.CodeBadName, v.node, fmt.Sprintf("%s has %d characters", v.path, len(s)), "write at most 255")
		return bad[string](v)
	}
	return good(v, s)
}

// name reads a name that commands, metrics and the HAProxy configuration use.
func (d *decoder) name(v value) item[string] {
	t := d.text(v)
	if t.ok && !isName(t.v) {
		d.fail(status.CodeBadName, v.node, fmt.Sprintf("%s %s is not a name", v.path, quote(t.v)), "write letters, digits and . - _, a letter or digit first, at most 100")
		return bad[string](v)
	}
	return t
}

func isName(s string) bool {
	odd := func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune(".-_", r) }
	return s != "" && len(s) <= 100 && isAlnum(rune(s[0])) && !strings.ContainsFunc(s, odd)
}

func isAlnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// choice reads one of a few words.
func (d *decoder) choice(v value, words ...string) item[string] {
	t := d.text(v)
	if !t.ok || slices.Contains(words, t.v) {
		return t
	}
	remedy := "write " + list(words, "or")
	if near, ok := catalog.Nearest(strings.ToLower(t.v), words); ok {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	d.fail(status.CodeUnknownValue, v.node, fmt.Sprintf("%s cannot be %s", v.path, quote(t.v)), remedy)
	return bad[string](v)
}

// boolean reads true or false.
func (d *decoder) boolean(v value) item[bool] {
	s, ok := d.scalar(v)
	if !ok {
		return bad[bool](v)
	}
	if v.node.Tag != "!!bool" {
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s is %s", v.path, kind(v.node)), "write true or false, without quotes")
		return bad[bool](v)
	}
	return good(v, strings.EqualFold(s, "true"))
}

// integer reads a whole number from 1 to high, written in digits. code is
// that of the finding for one out of range.
func (d *decoder) integer(v value, high int, code string) item[int] {
	s, ok := d.scalar(v)
	if !ok {
		return bad[int](v)
	}
	n, err := strconv.Atoi(s)
	remedy := fmt.Sprintf("write a whole number from 1 to %d", high)
	switch {
	case err == nil && v.node.Tag == "!!str":
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s is %s in quotes", v.path, s), fmt.Sprintf("write it without: %d", n))
	case err == nil && strconv.Itoa(n) != s:
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s %s could be an octal number", v.path, s), fmt.Sprintf("write %d", n))
	case err != nil && v.node.Tag != "!!int":
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s is %s", v.path, kind(v.node)), remedy)
	case err != nil && strings.ContainsAny(s, "_xXoObB"):
		d.fail(status.CodeWrongType, v.node, fmt.Sprintf("%s %s is not in plain digits", v.path, quote(s)), remedy)
	case err != nil || n < 1 || n > high:
		d.fail(code, v.node, fmt.Sprintf("%s %s is out of range", v.path, quote(s)), remedy)
	default:
		return good(v, n)
	}
	return bad[int](v)
}

// size reads a number of octets from low to high KiB, as in "64k".
func (d *decoder) size(v value, low, high int) item[int] {
	t, ok := d.scalar(v)
	if !ok {
		return bad[int](v)
	}
	digits, isKiB := strings.CutSuffix(t, "k")
	n, err := strconv.Atoi(digits)
	if err != nil || !isKiB || n < low || n > high {
		d.fail(status.CodeBadSize, v.node, fmt.Sprintf("%s %s is not a size from %dk to %dk", v.path, quote(t), low, high), fmt.Sprintf("write a number of KiB with a k, from %dk to %dk", low, high))
		return bad[int](v)
	}
	return good(v, n<<10)
}

func (d *decoder) port(v value) item[int] { return d.integer(v, 65535, status.CodeBadPort) }

// maxTimeout is what HAProxy can count: 2^31-1 milliseconds, 24 days.
const maxTimeout = 24 * 24 * time.Hour

// duration reads a time with its unit, above 0 and in whole milliseconds.
func (d *decoder) duration(v value) item[time.Duration] {
	s, ok := d.scalar(v)
	if !ok {
		return bad[time.Duration](v)
	}
	t, err := time.ParseDuration(s)
	switch {
	case isNumber(s):
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s has no unit", v.path, s), fmt.Sprintf("write %ss, if seconds are meant; the units are ms, s, m and h", s))
	case err != nil:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is not a time", v.path, quote(s)), "write a number with its unit, like 500ms, 60s, 10m or 6h")
	case t <= 0:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is not above 0", v.path, s), "write a time above 0, or leave it out for the default")
	case t%time.Millisecond != 0:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is not in whole milliseconds", v.path, s), fmt.Sprintf("write %dms", t.Milliseconds()+1))
	case t > maxTimeout:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is above HAProxy's limit", v.path, s), "write at most 576h")
	default:
		return good(v, t)
	}
	return bad[time.Duration](v)
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// maxPeriod bounds a time in days: ten years.
const maxPeriod = 3650 * 24 * time.Hour

// period reads a time that may be in days, "365d", in whole seconds.
func (d *decoder) period(v value) item[time.Duration] {
	s, ok := d.scalar(v)
	if !ok {
		return bad[time.Duration](v)
	}
	t, err := time.ParseDuration(s)
	if days, inDays := strings.CutSuffix(s, "d"); inDays {
		var n int
		n, err = strconv.Atoi(days)
		t = time.Duration(min(max(n, 0), 100_000)) * 24 * time.Hour
	}
	switch {
	case err != nil || isNumber(s):
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is not a time", v.path, quote(s)), "write a number with its unit, like 365d, 24h or 300s")
	case t < time.Second || t%time.Second != 0:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is not in whole seconds above 0", v.path, s), "write a time like 365d, or leave it out for none")
	case t > maxPeriod:
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is more than ten years", v.path, s), "write at most 3650d")
	default:
		return good(v, t)
	}
	return bad[time.Duration](v)
}

// The range of a VRRP interval: 12 bits of centiseconds, 0 not allowed (RFC 9568
// section 5.2.7).
const (
	minInterval  = 10 * time.Millisecond
	maxInterval  = 4095 * 10 * time.Millisecond
	intervalStep = 10 * time.Millisecond
)

func (d *decoder) interval(v value) item[time.Duration] {
	t := d.duration(v)
	switch {
	case !t.ok:
		return t
	case t.v < minInterval || t.v > maxInterval:
		d.fail(status.CodeBadInterval, v.node, fmt.Sprintf("%s %s is out of range", v.path, v.node.Value), "write a time from 10ms to 40.95s")
	case t.v%intervalStep != 0:
		below := t.v.Truncate(intervalStep)
		d.fail(status.CodeBadInterval, v.node, fmt.Sprintf("%s %s is not in steps of 10ms", v.path, v.node.Value), fmt.Sprintf("write %v or %v", below, below+intervalStep))
	default:
		return t
	}
	return bad[time.Duration](v)
}

// startupDelay reads how long the silence on an interface that came up counts for
// nothing: 0s, which is at once, to 1h.
func (d *decoder) startupDelay(v value) item[time.Duration] {
	if v.node.Kind == yaml.ScalarNode && v.node.Value == "0s" {
		return good(v, time.Duration(0))
	}
	i := d.duration(v)
	if i.ok && i.v > time.Hour {
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is out of range", v.path, v.node.Value), "write a time from 0s to 1h; 0s has nobody waited for")
		return bad[time.Duration](v)
	}
	return i
}

// handoverLimit reads how long connections may go on after a handover: 1s to 24h.
func (d *decoder) handoverLimit(v value) item[time.Duration] {
	i := d.duration(v)
	if i.ok && (i.v < time.Second || i.v > 24*time.Hour) {
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is out of range", v.path, i.v), "write a time from 1s to 24h")
		return bad[time.Duration](v)
	}
	return i
}

// codes reads accepted status codes: 200, "200-299", "200,300-308".
func (d *decoder) codes(v value) item[[]CodeRange] {
	s, ok := d.scalar(v)
	if !ok {
		return bad[[]CodeRange](v)
	}
	ranges, err := catalog.ParseCodes(s)
	if err != nil {
		d.fail(status.CodeBadExpect, v.node, fmt.Sprintf("%s: %s", v.path, err), `write codes and ranges of them, like "200", "200-299" or "200,300-308"`)
		return bad[[]CodeRange](v)
	}
	own := make([]CodeRange, len(ranges))
	for i, r := range ranges {
		own[i] = CodeRange(r)
	}
	if own[len(own)-1].To >= 500 {
		d.warn(status.CodeExpectFailure, v.node, fmt.Sprintf("%s %s takes a service that answers 5xx for healthy", v.path, quote(s)), "write codes below 500")
	}
	return good(v, own)
}
