// Package usb is the printers that are plugged into the gateway's USB: which there are, how each is driven, who else drives one, and
// the way of documents and questions to them.
//
// It promises
//
//   - a printer is seen within a second of its plug, and of its unplug. Each has a goroutine that opens it, asks who it is, and drives
//     it: as IPP over USB where its 7/1/4 interfaces answer, else as a stream of bytes, 7/1/2 before 7/1/1. One mode at a time: to
//     choose 7/1/4 on an interface takes the others away (Mode). What models need otherwise is in usb/quirk;
//   - a printer whose transport broke is reset, waited for while it leaves and joins the bus again, and opened anew, after longer and
//     longer pauses; until then it is a known printer that is not driven, with the reason. It is Gone only when the plug is;
//   - who a printer is does not hang on its port if it has a serial number that only it has. Two printers that say the same one are
//     told apart by their ports, then and ever after (serials);
//   - a document is sent once. Of what became of it nothing is told that is not known (usb/raw, usb/document);
//   - when Run ends, every interface is given back, to the kernel's driver where it had it, and no goroutine is left.
//
// It refuses to share a printer. If ipp-usb drives it, ipp-usb's port is used, and no other interface of that printer is touched: its
// panel would freeze. If something else has it, as CUPS does while it prints, it is tried again later. A printer that the gateway may
// not open is shown with what would give it the right.
//
// It fails by saying so: what is wrong with a printer is in USBPort.Reason and Detail, and concerns that printer alone. Print and Read
// of a printer that is not driven return a Refusal.
package usb
