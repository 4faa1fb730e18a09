// Package moves plays moves of devices between regions as they happen: two countries' clouds, a gateway and simulated devices, each a
// process of its own, under real names and certificates.
package moves
