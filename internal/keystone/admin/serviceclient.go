package admin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"holdfast/internal/keystone"
)

// ServiceClient gives a client for another service, with the token of c: at url,
// or, when that is empty, at the endpoint that the token's catalog has for one
// of types in region, the public one if there is one. An empty region is any.
func (c *Client) ServiceClient(types []string, region, url string) (*gophercloud.ServiceClient, error) {
	if url == "" {
		var err error
		if url, err = c.endpointOf(types, region); err != nil {
			return nil, err
		}
	}
	return &gophercloud.ServiceClient{ProviderClient: c.identity.ProviderClient, Endpoint: strings.TrimRight(url, "/") + "/", Type: types[0]}, nil
}

// endpointOf looks for a service in the catalog of c's token.
func (c *Client) endpointOf(types []string, region string) (string, error) {
	found, best := "", len(keystone.InterfaceNames())
	for _, entry := range c.token.Catalog {
		for _, e := range entry.Endpoints {
			rank := slices.Index(keystone.InterfaceNames(), e.Interface)
			if slices.Contains(types, entry.Type) && (region == "" || e.RegionID == region) && rank >= 0 && rank < best {
				found, best = e.URL, rank
			}
		}
	}
	if found == "" {
		where := ""
		if region != "" {
			where = " in region " + region
		}
		return "", fmt.Errorf("the catalog of Keystone at %s has no endpoint of type %s%s", c.URL(), strings.Join(types, " or "), where)
	}
	return found, nil
}
