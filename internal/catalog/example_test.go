package catalog_test

import (
	"fmt"

	"holdfast/internal/catalog"
)

// What a spec need not say of a known service, by any of its names.
func ExampleCatalog_Lookup() {
	known, err := catalog.Load()
	if err != nil {
		panic(err)
	}
	s, ok := known.Lookup("Keystone")
	fmt.Println(ok, s.Name, s.Types, s.Port, s.Check.Method, s.Check.Path, s.Check.Expect)
	near, ok := known.Nearest("keyston")
	fmt.Println(near, ok)
	// Output:
	// true keystone [identity] 5000 GET /healthcheck [200]
	// keystone true
}

// Codes are listed as in "check: {expect: ...}" of a spec.
func ExampleParseCodes() {
	fmt.Println(catalog.ParseCodes("200-299,401"))
	fmt.Println(catalog.ParseCodes("2xx"))
	// Output:
	// [200-299 401] <nil>
	// [] "2xx" is no HTTP status code (100 to 599)
}
