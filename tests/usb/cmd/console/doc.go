// Package console is the language in which programs of their own are told to plug printers in and out and to disturb them: mockusbd and
// usbipprinter have it on standard input.
//
// A command is a line, and so is its answer: "ok", "ok" with JSON behind it, or "error:" and why. Nothing else is written, and a command
// that is wrong changes nothing. A port's printer keeps what it recorded when it is unplugged, and when it is plugged back.
//
//	plug LAYOUT SERIAL PORT [OPTION=VALUE…]  layouts of model.Layouts; SERIAL "-": none; options id (of model.IDForms), make, model, vid, pid
//	back PORT                                plug the port's printer in again
//	unplug PORT
//	pause|resume|halt PORT ENDPOINT          ENDPOINT: its address in hex: 01, 81; 00 for control transfers
//	fault PORT ENDPOINT KIND [after=N] [times=N]  kinds of model.Kinds
//	split PORT INTERFACE [SIZE…]             packets of the IPP-USB interface with that place among them
//	silence PORT on|off                      the raw port's answers vanish
//	paper PORT out|in
//	status PORT BITS                         of GET_PORT_STATUS, in hex
//	answer PORT [silent] [garbage] [chunked] [early] [cut=N] [status=N] [pad=N] [delay=DURATION]  the next of IPP
//	driver PORT INTERFACE NAME               a kernel driver binds; with the carrier that can
//	hold|unhold PORT INTERFACE               another program claims
//	deny|allow PORT                          the right to the node
//	stats [PORT]
//	take PORT                                what the raw port took, and begin to count anew
//	quit
package console
