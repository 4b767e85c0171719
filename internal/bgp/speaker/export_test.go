package speaker

import (
	"testing"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Known gives the prefixes of IPv4 that are in the table, and so are told to peers.
func (s *Speaker) Known(t *testing.T) (all []string) {
	t.Helper()
	err := s.server.ListPath(apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: gobgp.RF_IPv4_UC}, func(prefix gobgp.NLRI, _ []*apiutil.Path) {
		all = append(all, prefix.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
