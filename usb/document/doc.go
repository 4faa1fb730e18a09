// Package document prints over IPP (RFC 8010, RFC 8011): a document goes to a printer as one Print-Job, and is followed by
// Get-Job-Attributes until the printer says that it has ended.
//
// It promises
//
//   - a document is sent once. Validate-Job goes first, so that a printer that is busy, or does not take the format, says so before a
//     byte of the document is read; while it is busy, the job is pending and asked for again after 1 s to 1 min. If Print-Job itself
//     is answered with server-error-busy, the document goes again only if it can be wound back to its beginning. HTTP's 503, which is
//     also that of a gateway whose printer fails in the midst of a job, counts for as much only where the printer does not have the job;
//   - a job that may exist is never sent again, and nothing is claimed of it unseen. Its job-name ends with a mark that no other job
//     has. When a connection ends before the printer answered, the job is looked for by that mark with Get-Jobs: found, it is
//     followed; not found, it is aborted; and where the printer cannot be asked, it is aborted with ErrUnknown, which says
//     that it may be printed all the same;
//   - the state is the printer's word. A printer that took the document and then does not know the job any more, or no
//     Get-Job-Attributes, is not said to have printed it: completed with queued-in-device;
//   - JobStatus.Sent is what the printer took, where the transport tells (ippusb.Taker does); else what the transport took;
//   - there is no limit to how long a printer prints, or takes nothing for want of paper. While it does not read, its state is asked
//     for, and told with the keywords of printer-state-reasons;
//   - ctx's end cancels the job: by Cancel-Job if the printer has it, and its word is waited for, for 30 s.
//
// Answers are hostile: at most 1 MiB, 16,384 values, 8 levels of collections, texts cut at 256 bytes. What is beyond, or no IPP, is
// ErrNotIPP. Redirects are not followed. The Client's Timeout must be 0: documents take their time; the exchanges that are
// not documents have 30 s each.
package document
