package page

import (
	"fmt"
	"strings"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

type groupTable struct {
	Hosts []string
	Wide  bool
	Many  bool // columns, so that they are narrow
	// Clients is set where some service of any table has clients.
	Clients bool
	// Pad is as many columns as the widest table has more than this.
	Pad      []struct{}
	Services []serviceRow
}

type serviceRow struct {
	Name        string
	Port        int
	State, Tone string
	Clients     note // what they got in the last minute
	Cells       []hostCell
	Summary     string
	Troubled    []hostCell
}

type hostCell struct {
	aged
	Host, Address, Word, Tone, Check, Views string
}

// groupsOf makes the tables of services, with columns that stand below each other.
func groupsOf(c cloud.Cloud) []groupTable {
	var tables []groupTable
	columns, clients := 3, false
	for _, s := range c.Services {
		_, some := c.Clients(s.Name)
		clients = clients || some
	}
	for _, g := range cloud.Group(c.Services) {
		t := groupOf(c, g)
		tables = append(tables, t)
		if !t.Wide {
			columns = max(columns, len(t.Hosts))
		}
	}
	for i, t := range tables {
		tables[i].Many, tables[i].Clients = columns > 6, clients
		tables[i].Pad = make([]struct{}, max(0, columns-len(t.Hosts)))
	}
	return tables
}

func groupOf(c cloud.Cloud, g cloud.ServiceGroup) groupTable {
	table := groupTable{Hosts: g.Hosts, Wide: len(g.Hosts) > maxColumns}
	for _, s := range g.Services {
		row := serviceRow{Name: s.Name, Port: s.Port, State: string(s.State), Tone: toneOf(s.State), Clients: clientsOfService(c, s.Name)}
		up := 0
		for _, h := range s.Hosts {
			cell := cellOf(c.Time, h)
			row.Cells = append(row.Cells, cell)
			if h.State == status.Up {
				up++
			}
			if h.State != status.Up || cell.Tone != toneOK {
				row.Troubled = append(row.Troubled, cell)
			}
		}
		row.Summary = fmt.Sprintf("%d of %d up", up, len(s.Hosts))
		table.Services = append(table.Services, row)
	}
	return table
}

// clientsOfService says what clients of a service got in the last minute; nothing where there
// were none.
func clientsOfService(c cloud.Cloud, service string) note {
	got, some := c.Clients(service)
	switch {
	case !some:
		return note{}
	case got.Failed*100 > got.Requests: // more than a hundredth
		return note{got.Words(), toneBad}
	}
	return note{got.Words(), toneInfo}
}

func cellOf(now time.Time, h cloud.Host) hostCell {
	cell := hostCell{aged: agedBy(now, h.Since), Host: h.Name, Address: h.Address, Word: string(h.State), Tone: toneOf(h.State), Check: h.Check}
	switch {
	case h.State == status.Drain:
		cell.Word, cell.Check = "drained", ""
	case h.State == status.Up && h.Condition == status.Late:
		cell.aged, cell.Word, cell.Tone, cell.Check = agedBy(now, h.ConditionSince), string(status.Late), toneWarn, h.Evidence
	case h.State == status.Down && h.Evidence != "":
		cell.Check = string(h.Condition) + ", " + h.Evidence
	}
	cell.Views = viewsOf(h)
	if cell.Views != "" && cell.Tone == toneOK {
		cell.aged, cell.Tone = aged{}, toneWarn
	}
	return cell
}

// viewsOf says which controllers see h in which state; "" when all agree.
func viewsOf(h cloud.Host) string {
	var parts []string
	for _, state := range status.ServiceStates() {
		var who []string
		for _, v := range h.Views {
			if v.State == state {
				who = append(who, v.Controller)
			}
		}
		if len(who) > 0 {
			parts = append(parts, string(state)+" for "+strings.Join(who, ", "))
		}
	}
	return strings.Join(parts, "; ")
}
