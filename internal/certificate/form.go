package certificate

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
)

// What a block of PEM begins and ends with, and what a byte order mark is in the
// encodings that editors write one in.
const (
	beginning = "-----BEGIN "
	markUTF8  = "\xEF\xBB\xBF"
)

// joined finds where the end of one block and the beginning of another are on one line.
var joined = regexp.MustCompile(`-----END [^-\n]*-----[ \t]*-----BEGIN `) //nolint:gochecknoglobals // a pattern, never changed

// form says, in the words of the file, why not every block of PEM in data can be
// read: a block that is passed over would be a certificate that is missing, and
// the reason given for that would be another. It gives "" where all can be.
func form(data []byte) (problem, remedy string) {
	if problem, remedy = mark(data); problem != "" {
		return problem, remedy
	}
	if at := joined.FindIndex(data); at != nil {
		return fmt.Sprintf("line %d has two blocks joined without a line end: the end of one and the beginning of the next", lineOf(data, at[0])),
			"begin a new line at the second -----, and end each file with a line end before they are put together"
	}
	for rest := data; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			return unreadable(data, rest, len(rest))
		}
		// The block is the last one that begins in what Decode has consumed.
		consumed := rest[:len(rest)-len(after)]
		if last := bytes.LastIndex(consumed, []byte(beginning)); last > 0 {
			if problem, remedy = unreadable(data, rest, last); problem != "" {
				return problem, remedy
			}
		}
		rest = after
	}
}

// mark says where data has a byte order mark.
func mark(data []byte) (problem, remedy string) {
	if bytes.HasPrefix(data, []byte("\xFF\xFE")) || bytes.HasPrefix(data, []byte("\xFE\xFF")) {
		return "the file begins with a byte order mark of UTF-16", "write it in plain ASCII: iconv -f UTF-16 -t ASCII FILE > NEW"
	}
	at := bytes.Index(data, []byte(markUTF8+"-----"))
	switch {
	case bytes.HasPrefix(data, []byte(markUTF8)):
		return "the file begins with a byte order mark (line 1)", `write it without: sed -i '1s/^\xEF\xBB\xBF//' FILE`
	case at > 0:
		return fmt.Sprintf("line %d begins with a byte order mark: that of a file that was put together with another", lineOf(data, at)), `write it without: sed -i 's/^\xEF\xBB\xBF//' FILE`
	}
	return "", ""
}

// unreadable says where the first block begins that is in rest before its byte
// end, and what of it is not as PEM has it; "" where none begins there.
func unreadable(data, rest []byte, end int) (problem, remedy string) {
	at := bytes.Index(rest[:end], []byte(beginning))
	if at < 0 {
		return "", ""
	}
	line := lineOf(data, len(data)-len(rest)+at)
	before := rest[bytes.LastIndexByte(rest[:at], '\n')+1 : at]
	name, _, _ := strings.Cut(strings.TrimPrefix(excerpt(rest[at:]), beginning), "-----")
	const again = "get the file anew from where it was issued"
	switch {
	case len(before) > 0 && len(bytes.TrimSpace(before)) == 0:
		return fmt.Sprintf("line %d: there is space before -----BEGIN", line), `write every line of it from its first column: sed -i 's/^[ \t]*//' FILE`
	case len(before) > 0:
		return fmt.Sprintf("line %d: there is text before -----BEGIN", line), "begin a new line there"
	case !bytes.Contains(rest[at:], []byte("\n-----END "+name+"-----")):
		return fmt.Sprintf("the block that begins on line %d has no end: there is no line -----END %s-----", line, name), again
	}
	return fmt.Sprintf("the block that begins on line %d cannot be read: it is not base64 up to its end", line), again
}

// excerpt gives the first line of data, or what a line of PEM could have of it.
func excerpt(data []byte) string {
	first, _, _ := bytes.Cut(data[:min(len(data), 80)], []byte("\n"))
	return string(bytes.TrimSpace(first))
}

// lineOf gives the line of data, from 1, that its byte at is on.
func lineOf(data []byte, at int) int { return 1 + bytes.Count(data[:at], []byte("\n")) }
