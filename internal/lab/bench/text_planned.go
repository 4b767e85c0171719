package bench

import (
	"fmt"
)

// peersUndone says which peers could not do row's work, and why.
func (r Row) peersUndone() []string {
	var all []string
	for _, c := range r.Cells {
		if why := c.undone(); why != "" && c.System != Holdfast {
			all = append(all, fmt.Sprintf("%s: %s", c.System, why))
		}
	}
	return all
}

// plannedNotes explain the table.
func (r *Report) plannedNotes() []string {
	p := r.Planned
	return []string{
		"",
		fmt.Sprintf("Planned work: %g requests a second on connections that are kept alive and %g on new ones, 1 in %d a POST, from %d", p.Rate, p.New, methods, p.Clients),
		fmt.Sprintf("addresses, beside %d downloads of %d MiB over %s, each checked byte by byte. Promised of each: nothing fails, no", p.Downloads, p.Bytes>>20, short(p.Time)),
		"connection is reset, no download is cut, and new connections find nobody for less than 5 ms.",
		"failed: requests, POSTs among them. reset: connections, also idle ones and those of downloads. cut: downloads. gap:",
		fmt.Sprintf("an attempt to connect is made every %s; the longest time in which attempts were made and none succeeded. Time in", short(p.Connects)),
		"which this machine kept the attempts themselves back does not count; what it did to them just before the work does",
		"not count either, up to 5 ms. POST and the rest of the second table: as for faults.",
	}
}
