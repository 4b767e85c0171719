package lab

import _ "embed" // for the sample

//go:embed sample.yaml
var sample string

//go:embed sample-bgp.yaml
var sampleBGP string

// Sample gives the spec of the lab that is built when there is none.
func Sample() []byte { return []byte(sample) }

// SampleBGP gives that of a lab with a router.
func SampleBGP() []byte { return []byte(sampleBGP) }
