package move

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// tablePrefix begins the name of every nftables table of this package.
	tablePrefix = "holdfast-detour-"
	// longestName leaves the name of a table below the kernel's 255 bytes.
	longestName = 200
)

// tableName gives the name of the table of a VIP, one that nft takes as it is:
// bytes other than letters, digits, - and . are _ and their number.
func tableName(vip string) string {
	var b strings.Builder
	b.WriteString(tablePrefix)
	for _, c := range []byte(vip) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// vipOf gives the VIP whose table has the name; ok is false for a table of
// somebody else.
func vipOf(table string) (vip string, ok bool) {
	rest, ok := strings.CutPrefix(table, tablePrefix)
	first, escaped := "", []string(nil)
	if ok {
		parts := strings.Split(rest, "_")
		first, escaped = parts[0], parts[1:]
	}
	name := []byte(first)
	for _, e := range escaped {
		if len(e) < 2 {
			return "", false
		}
		c, err := hex.DecodeString(e[:2])
		if err != nil {
			return "", false
		}
		name = append(append(name, c...), e[2:]...)
	}
	return string(name), ok && tableName(string(name)) == table
}

// openNFT gives a buffer of changes that are made all at once, or not at all.
// Room is for about as many bytes.
func openNFT(room int) (*nftables.Conn, error) {
	const usual = 200_000 // of a socket's buffer
	if room < usual/2 {
		return nftables.New()
	}
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(2*room), c.SetReadBuffer(room))
	}))
}

// ourTables gives the tables of this package, by the VIP that they are for.
func ourTables() (map[string][]*nftables.Table, error) {
	c, err := openNFT(0)
	if err != nil {
		return nil, err
	}
	all, err := c.ListTables()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil // the kernel has no nftables, or nobody has used them
	}
	if err != nil {
		return nil, fmt.Errorf("list the nftables: %w", explainNFT(err))
	}
	ours := map[string][]*nftables.Table{}
	for _, t := range all {
		if vip, ok := vipOf(t.Name); ok {
			ours[vip] = append(ours[vip], t)
		}
	}
	return ours, nil
}

// removeTables is done also when they are gone meanwhile.
func removeTables(tables []*nftables.Table) error {
	c, err := openNFT(0)
	if err != nil {
		return err
	}
	for _, t := range tables {
		c.AddTable(&nftables.Table{Name: t.Name, Family: t.Family})
		c.DelTable(t)
	}
	if err := c.Flush(); err != nil {
		return explainNFT(err)
	}
	return nil
}

// explainNFT says what to do about err.
func explainNFT(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; run as root or with CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%w; this kernel may have no nftables: modprobe nf_tables", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w; the kernel may lack a module: modprobe -a nft_ct nft_dup_ipv4 nft_dup_ipv6", err)
	}
	return err
}

// Detours gives the names of the VIPs that have a Detour in this network
// namespace, sorted.
func Detours(context.Context) ([]string, error) {
	tables, err := ourTables()
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
