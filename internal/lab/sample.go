package lab

import _ "embed" // for the sample

//go:embed sample.yaml
var sample string

// Sample gives the spec of the lab that is built when there is none.
func Sample() []byte { return []byte(sample) }
