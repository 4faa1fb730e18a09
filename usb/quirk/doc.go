// Package quirk knows what single printers on USB need that others do not: which interfaces of theirs do not work, what they must
// not be sent, how they take their software. It is a table of entries, each with the devices that it is for, by vendor and product
// as USB has them and, where facts are known only by it, by the name that the device gives itself; with what is to be done; and with
// the reason, which names its source. The table of this program is quirks.txt; a site adds its own (Table.With).
//
// The text is lines. A line that begins with a vendor and a product names devices, and several such lines may follow each other;
// the lines under them, which begin with blanks, say what holds of all of these. "#" begins a comment. See quirks.txt.
//
//	03f0:7c12                         # one product
//	04e8:*                            # all of a vendor
//	0924:42ea release 0100-0110       # bcdDevice, both ends among them
//	03f0:* "HP LaserJet 9050*"        # by name; * is any text, case does not count
//	    reset soft
//	    reason it is found only after a reset when it was off for long (OpenPrinting/ipp-usb#75)
//
// Parse refuses a whole text for one line that it does not understand, with the place of each: a word that is spelled wrong must not
// leave a printer to its fault silently. Of two entries that say different things of one device, the more special one counts: vendor
// and product before a name, a name before a vendor; of equals the later, so that a site's entry wins. Each word is decided alone.
package quirk
