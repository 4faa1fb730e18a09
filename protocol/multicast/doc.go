// Package multicast is the way to a link's Multicast DNS: the groups 224.0.0.251 and ff02::fb at port 5353 (RFC 6762 §3), by sockets that
// take nothing from any other program of the machine. The querier of discovery/mdns hears and asks by it, the responder of
// usb/endpoint/dnssd hears and answers.
//
// It looks into no packet: whoever reads them judges where they came from, by the port, the TTL and the interface that come with each.
// What cannot be joined is an error of Join, for now; nothing is tried again here.
package multicast
