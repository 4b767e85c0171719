// Package sim runs virtual routers of VRRP, the vrrp.Machine and the conflict.Guard
// that the agent ships, in virtual time: two to nine of them on a network that loses, delays,
// reorders, doubles and parts, on hosts that stop, freeze, lose power and whose
// clocks drift, each with HAProxy that dies and a kernel that lets the address
// go when its lease ends. What must hold meanwhile is checked at every moment.
//
// A Schedule says who takes part and what happens when. Random makes one from a
// seed, Run runs it, Shrink makes it as small as it can be while the same thing
// goes wrong, and its text, which Parse reads, runs it again.
//
// It opens no socket and reads no clock, and the same schedule gives the same
// run. It is not a model of VRRP: whatever decides is the agent's own. Of the
// world below it has its own: what packages vrrp/link, conflict/watch and splitbrain
// do with what is decided, the kernel, switches and wires.
package sim
