package importer_test

import (
	"fmt"
	"strings"

	"holdfast/internal/catalog"
	"holdfast/internal/importer"
)

// What "openstack endpoint list" prints becomes a spec, with a mark wherever the list
// does not say enough.
func ExampleDraft() {
	endpoints, findings := importer.ParseListing("endpoints.txt", []byte(strings.TrimLeft(`
+----------------------------------+-----------+--------------+--------------+---------+-----------+------------------------+
| ID                               | Region    | Service Name | Service Type | Enabled | Interface | URL                    |
+----------------------------------+-----------+--------------+--------------+---------+-----------+------------------------+
| 0f1ba4c7a2a94fbb8d8f4dd4a3b7d9a1 | RegionOne | keystone     | identity     | True    | public    | http://ctl1:5000/v3    |
| 1f1ba4c7a2a94fbb8d8f4dd4a3b7d9a1 | RegionOne | glance       | image        | True    | public    | http://ctl1:9292       |
+----------------------------------+-----------+--------------+--------------+---------+-----------+------------------------+
`, "\n")))
	fmt.Println(len(endpoints), findings)
	known, err := catalog.Load()
	if err != nil {
		panic(err)
	}
	drafted, err := importer.Draft(endpoints, importer.Options{Hostname: "openstack.example.org"}, known)
	fmt.Println(drafted.Services, err)
	for _, f := range drafted.FillIn {
		fmt.Println(f.Path, "-", f.What)
	}
	// Output:
	// 2 []
	// [keystone glance] <nil>
	// vips[0].addresses[0] - the address dedicated to HAProxy, with its network's prefix length: 10.64.20.10/24
	// vips[0].interface - the network interface that gets the address: eno1
	// controllers[0].address - its own address, not the one dedicated to HAProxy
	// controllers[1].name - the controller's name
	// controllers[1].address - its own address, not the one dedicated to HAProxy
}
