// Command bench measures mfpgate beside real peers, each a process of its own, on this machine and in one run, and holds
// the ratios against their targets. README.md says what is measured and how.
//
// It promises that peers take turns within each round, that ratios are taken within a round before their median, and that
// nothing leaves the loopback. It exits with 1 where a target is missed or could not be measured, unless -warn is given,
// and with 2 where it could not measure at all.
package main
