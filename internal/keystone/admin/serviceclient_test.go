package admin

import (
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

func TestServiceClient(t *testing.T) {
	provider := &gophercloud.ProviderClient{TokenID: "x"}
	c := &Client{
		identity: &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: "http://ctl1:5000/v3/"},
		token: Token{Catalog: []tokens.CatalogEntry{{Type: "dns", Endpoints: []tokens.Endpoint{
			{Interface: "admin", RegionID: "one", URL: "http://admin:9001"},
			{Interface: "public", RegionID: "one", URL: "http://public:9001/"},
			{Interface: "internal", RegionID: "two", URL: "http://two:9001"},
			{Interface: "odd", RegionID: "three", URL: "http://three:9001"},
		}}, {Type: "image", Endpoints: []tokens.Endpoint{{Interface: "public", RegionID: "one", URL: "http://image"}}}}},
	}
	for _, tt := range []struct{ region, url, want, err string }{
		{"one", "", "http://public:9001/", ""},
		{"two", "", "http://two:9001/", ""},
		{"", "", "http://public:9001/", ""},
		{"one", "http://10.0.0.1:9001", "http://10.0.0.1:9001/", ""},
		{"three", "", "", "the catalog of Keystone at http://ctl1:5000/v3 has no endpoint of type dns in region three"},
	} {
		got, err := c.ServiceClient([]string{"dns"}, tt.region, tt.url)
		switch {
		case tt.err != "":
			if err == nil || err.Error() != tt.err {
				t.Errorf("region %q: error %v, want %s", tt.region, err, tt.err)
			}
		case err != nil || got.Endpoint != tt.want || got.ProviderClient != provider:
			t.Errorf("region %q: %+v, %v, want %s", tt.region, got, err, tt.want)
		}
	}
	if _, err := c.ServiceClient([]string{"volume", "volumev3"}, "", ""); err == nil || !strings.Contains(err.Error(), "of type volume or volumev3") {
		t.Errorf("unknown types: %v", err)
	}
}
