package haproxy

import "strings"

// splitWords splits a line of a configuration into its words (HAProxy manual
// 2.2, "Quoting and escaping"). It knows what Render writes, and reports false
// for anything else, such as a variable, or quotes without an end.
func splitWords(line string) ([]string, bool) {
	if !strings.ContainsAny(line, "'\"\\$#\n\r") {
		return strings.Fields(line), true // most are so
	}
	var words []string
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return words, true
		}
		var word strings.Builder
		for line != "" && line[0] != ' ' && line[0] != '\t' {
			n, ok := piece(&word, line)
			if !ok {
				return nil, false
			}
			line = line[n:]
		}
		words = append(words, word.String())
	}
}

// piece adds what text, which is within a word, begins with to word: one
// character or one quoted string. It gives how long that is in text.
func piece(word *strings.Builder, text string) (int, bool) {
	switch text[0] {
	case '\'':
		inside, _, ok := strings.Cut(text[1:], "'")
		word.WriteString(inside)
		return len(inside) + 2, ok
	case '"':
		return doubleQuoted(word, text)
	case '\\':
		if len(text) < 2 {
			return 0, false
		}
		word.WriteByte(text[1])
		return 2, strings.IndexByte(` '"\#`, text[1]) >= 0
	case '$', '#', '\n', '\r':
		return 0, false
	}
	word.WriteByte(text[0])
	return 1, true
}

// doubleQuoted is piece for a string in double quotes, in which \n, \" and \\
// are the only escapes.
func doubleQuoted(word *strings.Builder, text string) (int, bool) {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1, true
		case c == '$', c == '\\' && i+1 == len(text):
			return 0, false
		case c == '\\':
			i++
			at := strings.IndexByte(`n"\`, text[i])
			if at < 0 {
				return 0, false
			}
			word.WriteByte("\n\"\\"[at])
		default:
			word.WriteByte(c)
		}
	}
	return 0, false
}

// CLIWord gives s as one word of a command of the runtime API (management
// guide 9.3).
func CLIWord(s string) string {
	return strings.NewReplacer(`\`, `\\`, " ", `\ `, ";", `\;`).Replace(s)
}
