// Package conflict knows, without any I/O, whether another machine has a virtual
// address: it reads the frames that say so (ARP of RFC 826 and 5227, neighbour
// advertisements of RFC 4861, adverts of VRRP versions 2 and 3), makes the ones that ask,
// and says when to ask, when the silence of the others counts, and when to answer.
//
// Who of the controllers holds the address is VRRP's business; nothing that is read here
// is obeyed. Package conflict/watch has the sockets and the clock.
package conflict
