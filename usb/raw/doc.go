// Package raw prints over USB's printer class without a protocol on top: 7/1/2, which answers, and 7/1/1, which does not (USB
// Device Class Definition for Printing Devices 1.1). What the printer gets is a stream of bytes.
//
// It promises
//
//   - a document's bytes arrive as they are, in their order, once. Nothing is sent a second time by itself: what a printer took
//     before a fault is never repeated, and a job that failed is aborted, not tried again;
//   - one job at a time. Others wait in the order of their calls, pending, and leave when their contexts end;
//   - there is no limit to how long a printer may take nothing. Paper may be out over a weekend: the job is then
//     processing-stopped, and JobStatus.Reasons has printer-stopped and, where the printer says why, those keywords of
//     printer-state-reasons. It is asked by GET_PORT_STATUS, at most once a second, and PJL tells of itself;
//   - the state of a job is what is known. Completed means that the printer said so (PJL's USTATUS JOB END with RESULT OK or none);
//     with reason queued-in-device that the printer took the last byte and does not say what became of it;
//   - memory does not grow with the document: two buffers of bus.MaxTransfer.
//
// What is added to a document. Only where all of this holds is it framed in PJL: JOB and ENTER LANGUAGE before it, EOJ behind it:
// the printer's command set (CMD) has PJL, Quirks.NoPJL is not set, the document's format is one of application/pdf,
// application/postscript, application/vnd.hp-PCL and application/vnd.hp-PCLXL, the command set has that language, and the document
// does not begin with UEL (ESC%-12345X), which means that it brings its own PJL. In all other cases not a byte is added, before,
// within or behind: so never to application/octet-stream or to a document without a format, as software packages are.
//
// How a job is canceled, which is when the context of Print ends. Nothing is killed in the middle of a page if there is a way round:
//
//   - while it waits, and until its first byte is taken: at once, and the printer learns nothing of it;
//   - framed in PJL, or with PJL of its own: the document is broken off and UEL sent, for a framed one with EOJ: the printer ends
//     the page that it has begun, and is ready for the next job. PostScript gets ^D, which ends its job on every channel, first;
//   - other known formats have no such end: the rest of the document is sent (processing-to-stop-point). If the printer takes
//     nothing for 30 s meanwhile, it is stopped already, and SOFT_RESET, the class's own way to drop what is buffered, cuts no page;
//   - opaque data (application/octet-stream, no format, an unknown one) are always sent to their end: half a software package may
//     ruin a printer, and nobody can tell it from a page. Close's deadline alone breaks them off, and a Content that fails; the
//     SOFT_RESET that follows keeps the next job's bytes from being taken for theirs.
//
// UEL is not seen by a printer that is reading binary data of which an announced length is still due (a PCL raster row). It then
// prints what it has when its own time-out strikes; printers that are stuck with it get the SOFT_RESET of the third case.
// A job of which the printer has every byte can no longer be canceled from here: it ends completed with queued-in-device.
//
// Faults of the bus. A stall was cleared by the driver, and says how much was taken: the rest goes on, five times without progress.
// No memory (usbfs): smaller transfers. Anything else ends the job as aborted with submission-interrupted and the bytes that
// were taken; afterwards the printer's stream is brought to an end as for a cancel, so that the next job begins on a clean page.
//
// The printer is read all the time, whether or not anybody wants what it says: some stop printing when nobody does.
package raw
