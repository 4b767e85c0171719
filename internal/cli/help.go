package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// helpWidth is how many columns what is printed for people to read takes at most: those
// of a console, and of a terminal whose window nobody has made wider.
const helpWidth = 80

// usageIndent is that of what goes on on another line.
const usageIndent = 6

// help says what cmd does. The man pages are of the same words.
func (a *app) help(cmd *cobra.Command, _ []string) {
	out := &foldingWriter{out: a.stdio.Out}
	fmt.Fprintf(out, "%s\n\n", reflowed(cmp.Or(cmd.Long, cmd.Short))) //nolint:errcheck // there is nobody to tell
	io.WriteString(out, cmd.UsageString())                            //nolint:errcheck // see above
}

// reflowed fills the lines of each paragraph of text anew. What is indented stays.
func reflowed(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		lines := strings.Split(p, "\n")
		if strings.HasPrefix(lines[0], " ") || strings.HasPrefix(lines[0], "\t") {
			continue
		}
		paragraphs[i] = strings.Join(foldAt(strings.Join(lines, " "), helpWidth, 0), "\n")
	}
	return strings.Join(paragraphs, "\n\n")
}

// described is a line of a list: a name, and at some distance what it is.
var described = regexp.MustCompile(`^ *\S+(?: \S+)* {2,}`)

// A foldingWriter breaks lines that are wider than helpWidth.
type foldingWriter struct {
	out  io.Writer
	rest []byte // of a line that has not ended yet
}

func (w *foldingWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	end := bytes.LastIndexByte(w.rest, '\n') + 1
	whole := string(w.rest[:end])
	w.rest = w.rest[end:]
	for line := range strings.Lines(whole) {
		line = strings.TrimSuffix(line, "\n")
		if _, err := io.WriteString(w.out, strings.Join(foldAt(line, helpWidth, hanging(line)), "\n")+"\n"); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// hanging is how far what goes on on another line is indented: as far as it began.
func hanging(line string) int {
	if head := described.FindString(line); head != "" && len(head) <= helpWidth/2 {
		return len(head)
	}
	return usageIndent
}
