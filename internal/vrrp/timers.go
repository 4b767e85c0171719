package vrrp

import "time"

// SkewTime is what a Backup router with the priority adds to its wait, so that
// the one with the highest priority is the first to take over (RFC 9568
// section 6.1). It is exact to the nanosecond: at 10ms and priority 254 it is
// 78µs, which a count of centiseconds would make 0.
func SkewTime(interval time.Duration, priority uint8) time.Duration {
	return time.Duration(256-int64(priority)) * interval / 256
}

// ActiveDownInterval is how long a Backup router with the priority waits for
// an advert before it takes over (RFC 9568 section 6.1); interval is the one
// that the Active router advertised.
func ActiveDownInterval(interval time.Duration, priority uint8) time.Duration {
	return 3*interval + SkewTime(interval, priority)
}
