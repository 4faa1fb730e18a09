// Command mfpcloud is one region of the reference cloud: the server at the other end of a gateway's wire and of the
// devices' own, and the operator's commands on its state folder.
//
// It exits with 0 when done, 1 when refused, 2 for a wrong command line. SIGTERM and SIGINT end serve cleanly. Every
// command with --state but serve works whether or not serve runs on the same folder; those with --url speak to a running
// region as an operator, since the store of devices belongs to serve alone.
package main
