package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A CodeRange is a range of HTTP status codes, both ends included.
type CodeRange struct{ From, To int }

// String gives r as it is written: "200" or "200-299".
func (r CodeRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// ParseCodes reads a list of status codes and ranges of them, "200,300-308". It
// gives them ascending, with those that touch joined, so that what means the
// same is the same.
func ParseCodes(list string) ([]CodeRange, error) {
	var ranges []CodeRange
	for part := range strings.SplitSeq(list, ",") {
		r, err := parseCodeRange(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, r)
	}
	slices.SortFunc(ranges, func(a, b CodeRange) int { return cmp.Compare(a.From, b.From) })
	joined := ranges[:1]
	for _, r := range ranges[1:] {
		last := &joined[len(joined)-1]
		if r.From > last.To+1 {
			joined = append(joined, r)
			continue
		}
		last.To = max(last.To, r.To)
	}
	return joined, nil
}

func parseCodeRange(s string) (CodeRange, error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	from, err := parseCode(low)
	if err != nil {
		return CodeRange{}, err
	}
	to, err := parseCode(high)
	if err != nil {
		return CodeRange{}, err
	}
	if from > to {
		return CodeRange{}, fmt.Errorf("the range %q ends before it starts", s)
	}
	return CodeRange{from, to}, nil
}

func parseCode(s string) (int, error) {
	s = strings.TrimSpace(s)
	code, err := strconv.Atoi(s)
	if err != nil || len(s) != 3 || code < 100 || code > 599 {
		return 0, fmt.Errorf("%q is no HTTP status code (100 to 599)", s)
	}
	return code, nil
}
