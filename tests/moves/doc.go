// Package moves plays moves of devices between regions as they happen: two countries' clouds, a gateway and simulated devices, each a
// process of its own, under real names and certificates.
//
// What is shown of JP2025-008253, by the story (files e2e_*_test.go; all of them are part of TestEndToEnd):
//
//	claim 1, embodiment 3 (figures 11, 12)  "administrators move devices/a move with services, children and data": the roll-out is
//	                                        checked, the target's management server orders the source's service to transfer, the
//	                                        source's management server hears of the success and redirects the device, the source
//	                                        forgets; read in the audit chains of all writers
//	  - its roll-out check                  ".../a service that is not rolled out blocks"
//	claim 2, embodiment 4 (figure 13)       the first story again: whiteboard is unlinked, translate kept
//	embodiment 2 (figures 9, 10)            ".../management data alone"
//	claims 3, 4, embodiment 1 (figures 6-8) "a user registers a device of another market": in a browser, with the move that an
//	                                        administrator makes there later
//
// And of what the claims leave open:
//
//	data classes that move, stay and go     the first story; the receipt is checked with nothing but the key of `mfpcloud key`
//	an abort before the commit, and after   ".../an administrator takes a move back", whose source does not answer for a while; the first
//	a device that is told nothing           ".../a pinned device, and its open tunnels" is refused; where the certificate has its old
//	                                        name, or in plain HTTP, "the policy moves devices that notice nothing" leads it on
//	connections to the region that is left  ".../a pinned device, and its open tunnels": none opens after the switch, none is open after
//	                                        the grace; ".../none is at the old services after the grace": the gateway's sockets
//	a device that the relay does not see    ".../a device that goes past the relay", ".../a device in mode polling"
//	the policies                            ask in the first site, automatic in the second, never in the third
//
// After each site's stories scene.check has every chain verified by the programs that operators use, and held against all rules of
// broker/region/regiontest.
//
// In the tests of kills_*_test.go fronts stand between all of them. They hold messages back, repeat them, lose them or their answers, and
// kill processes at chosen messages. In the end each move is done or taken back, its device works on in one region with all that it was
// told is kept, and package regiontest finds nothing in what all have written. Clocks that differ are played there, not here: all processes
// of a machine have its clock.
package moves
