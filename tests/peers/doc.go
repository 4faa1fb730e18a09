// Package peers gives tests and benches the proxies that administrators know: squid, haproxy and tinyproxy.
//
// They are Debian's packages, downloaded with apt-get and unpacked into .cache/peers of the source tree, once, with the
// libraries that this machine lacks; they are never installed, for squid's package would start a service on our port.
// Where apt-get cannot give them the test skips by name, as package need says it. OIDCServer is a peer in Go, built from the modules
// that tests/tools pins.
package peers
