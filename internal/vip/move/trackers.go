package move

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"holdfast/internal/rtnl"
)

// Of linux/netfilter/nf_tables.h and nf_tables_compat.h.
const (
	nftGetRule = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE

	nestedOne  = 7  // NFTA_DYNSET_EXPR
	nestedMany = 10 // NFTA_DYNSET_EXPRESSIONS
	compatName = 1  // NFTA_MATCH_NAME, NFTA_TARGET_NAME
)

// needsNoTracking reports whether an expression of nftables does its work whether or
// not connections are tracked. One that is not listed, as ct and nat are not, may need it.
func needsNoTracking(expression string) bool {
	switch expression {
	case "bitwise", "byteorder", "cmp", "counter", "dup", "exthdr", "fib", "fwd", "hash", "immediate", "inner",
		"last", "limit", "log", "lookup", "meta", "numgen", "osf", "payload", "quota", "range", "reject", "rt",
		"socket", "tproxy", "tunnel", "xfrm":
		return true
	}
	return false
}

// compatNeedsNoTracking is the same of a match or target of iptables.
func compatNeedsNoTracking(name string) bool {
	switch name {
	case "addrtype", "ah", "bpf", "cgroup", "comment", "cpu", "devgroup", "dscp", "dst", "ecn", "esp", "frag",
		"hashlimit", "hbh", "hl", "icmp", "icmp6", "iprange", "ipv6header", "length", "limit", "mac", "mark",
		"multiport", "nfacct", "owner", "physdev", "pkttype", "policy", "quota", "realm", "recent", "rpfilter", "rt",
		"sctp", "set", "socket", "statistic", "string", "tcp", "tcpmss", "time", "tos", "ttl", "u32", "udp",
		"udplite", "AUDIT", "CHECKSUM", "CLASSIFY", "DSCP", "ECN", "ERROR", "HL", "IDLETIMER", "LED", "LOG", "MARK",
		"NFLOG", "RATEEST", "REJECT", "SET", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TPROXY", "TRACE", "TTL":
		return true
	}
	return false
}

// trackedBy says what on this host, other than rules of this package, needs to have
// connections tracked, or may; empty for nothing. Rules of iptables of old are not
// looked into.
func trackedBy() (string, error) {
	for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("look for iptables: %w", err)
		}
		if tables := strings.Fields(string(text)); len(tables) > 0 {
			return "iptables, table " + strings.Join(tables, " "), nil
		}
	}
	c, err := openNFT(0)
	if err != nil {
		return "", err
	}
	chains, err := c.ListChains()
	if err != nil {
		return "", fmt.Errorf("list the chains of nftables: %w", explainNFT(err))
	}
	for _, chain := range chains {
		if chain.Type == nftables.ChainTypeNAT {
			return fmt.Sprintf("nftables, chain %s %s of type nat", chain.Table.Name, chain.Name), nil
		}
	}
	k := &rtnl.Socket{Family: unix.NETLINK_NETFILTER}
	defer k.Close() //nolint:errcheck // nothing is lost
	const anyFamily = 0
	rules, err := k.Dump(nftGetRule, []byte{anyFamily, unix.NFNETLINK_V0, 0, 0})
	if err != nil {
		return "", fmt.Errorf("list the rules of nftables: %w", explainNFT(err))
	}
	for _, m := range rules {
		by, err := readRule(m.Data)
		if err != nil || by != "" {
			return by, err
		}
	}
	return "", nil
}

// readRule says what in a rule, which is a message of the kind NFT_MSG_NEWRULE, may
// need conntrack.
func readRule(b []byte) (by string, err error) {
	const header = 4
	if len(b) < header {
		return "", fmt.Errorf("rule of nftables of %d bytes is too short", len(b))
	}
	ad, err := netlink.NewAttributeDecoder(b[header:])
	if err != nil {
		return "", fmt.Errorf("read rule of nftables: %w", err)
	}
	var table, chain, what string
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_RULE_TABLE:
			table = ad.String()
		case unix.NFTA_RULE_CHAIN:
			chain = ad.String()
		case unix.NFTA_RULE_EXPRESSIONS:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				what = firstTracking(ad)
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		return "", fmt.Errorf("read rule of nftables: %w", err)
	}
	if _, ours := vipOf(table); ours || table == narrowName || what == "" {
		return "", nil
	}
	return fmt.Sprintf("nftables, %s in chain %s %s", what, table, chain), nil
}

// firstTracking gives the name of the first of the expressions that may need conntrack.
func firstTracking(ad *netlink.AttributeDecoder) (what string) {
	for ad.Next() {
		ad.Nested(func(ad *netlink.AttributeDecoder) error {
			name := ""
			for ad.Next() {
				switch ad.Type() {
				case unix.NFTA_EXPR_NAME:
					name = ad.String()
				case unix.NFTA_EXPR_DATA:
					ad.Nested(func(ad *netlink.AttributeDecoder) error {
						name = innerName(name, ad)
						return nil
					})
				}
			}
			if what == "" && name != "" && !needsNoTracking(name) {
				what = name
			}
			return nil
		})
	}
	return what
}

// innerName gives, for an expression of the name that has others in it, the name of
// one of these that may need conntrack, or empty.
func innerName(name string, ad *netlink.AttributeDecoder) (inner string) {
	switch name {
	case "match", "target":
		for ad.Next() {
			if ad.Type() == compatName && !compatNeedsNoTracking(ad.String()) {
				inner = ad.String()
			}
		}
		return inner
	case "dynset":
		for ad.Next() {
			if t := ad.Type(); t == nestedOne || t == nestedMany {
				inner = "an expression in a set"
			}
		}
		return inner
	}
	return name
}
