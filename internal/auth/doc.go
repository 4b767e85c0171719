// Package auth proves that what one controller says comes from one that has the key:
// adverts, by the trailer of keepalived 2.4.2 and later (draft-cassen-vrrp-auth-hmac), and what
// agents ask and answer each other. It encrypts nothing.
//
// It is pure: it reads no file, no clock and no source of chance; these are given to it.
// Which of what is not proven is believed all the same, a Mode says; what comes of
// something that is not believed, the caller decides.
//
// # What is proven
//
// A trailer covers the address family, the version, the router id and the source
// address of an advert, and all of the advert but its checksum. Its sequence grows, so
// that an advert that was recorded is worth nothing once its receiver has heard a later
// one. It comes from the sender's clock, as keepalived wants it, but a Receiver
// compares it with the sequences of the same sender only: a clock that is set, or
// differs, changes nothing. Where a VIP is shared with keepalived, it is compared
// with the receiver's clock too; see Freshness.
//
// A Claim, which each request and answer between agents carries, names both
// controllers, and covers what is said. Its sequence counts from 1 in each life of an
// agent and has no clock in it. A life that is not known is asked for a proof that it
// is now, and not recorded: see Lives.
package auth
