package catalog

import (
	"slices"
	"strings"
)

// Nearest gives the candidate that word was most likely meant to be: the one
// that takes the fewest edits (one letter inserted, left out, replaced, or two
// swapped), if that is at most a third of word's letters, and one edit for short
// words; else one that word, of three letters at least, is the beginning of. Of
// equals it gives the first.
func Nearest(word string, candidates []string) (string, bool) {
	limit := max(1, len([]rune(word))/3)
	best, found := "", false
	for _, c := range candidates {
		if d := distance(word, c, limit); d <= limit && (!found || d < limit) {
			best, found, limit = c, true, d
		}
	}
	if found || len(word) < 3 {
		return best, found
	}
	i := slices.IndexFunc(candidates, func(c string) bool { return strings.HasPrefix(c, word) })
	if i < 0 {
		return "", false
	}
	return candidates[i], true
}

// distance counts the edits that make b out of a (optimal string alignment:
// Levenshtein's distance, with a swap of neighbours as one edit). Above limit
// it may give any number above limit.
func distance(a, b string, limit int) int {
	s, t := []rune(a), []rune(b)
	if d := len(s) - len(t); d > limit || -d > limit {
		return limit + 1
	}
	// Three rows of the usual table: the one being filled and the two above.
	above2, above, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			replace := above[j-1]
			if s[i-1] != t[j-1] {
				replace++
			}
			row[j] = min(replace, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], above2[j-2]+1)
			}
		}
		above2, above, row = above, row, above2
	}
	return above[len(t)]
}
